#include "plans/config_hash.hpp"

#include <fmt/format.h>
#include <openssl/sha.h>

namespace meshsim {

ConfigHash& ConfigHash::operator+=(const ConfigHash& other) {
  unsigned carry = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::uint64_t sum = 0;
    const bool first = __builtin_add_overflow(words_[i], other.words_[i], &sum);
    const bool second = __builtin_add_overflow(sum, std::uint64_t{carry}, &words_[i]);
    carry = first || second ? 1 : 0;
  }
  return *this;
}

ConfigHash& ConfigHash::operator-=(const ConfigHash& other) {
  unsigned borrow = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::uint64_t difference = 0;
    const bool first = __builtin_sub_overflow(words_[i], other.words_[i], &difference);
    const bool second = __builtin_sub_overflow(difference, std::uint64_t{borrow}, &words_[i]);
    borrow = first || second ? 1 : 0;
  }
  return *this;
}

std::string ConfigHash::hex() const {
  constexpr std::string_view digits = "0123456789abcdef";
  constexpr unsigned bits = 4, per_word = 64 / bits;
  std::string text;
  text.reserve(words_.size() * per_word);
  for (std::size_t word = words_.size(); word-- > 0;) {
    for (unsigned digit = per_word; digit-- > 0;)
      text += digits[(words_[word] >> (bits * digit)) & 0xfU];
  }
  return text;
}

ConfigHash ConfigHash::of(std::string_view key, std::string_view value) {
  ConfigHash hash;
  if (is_secret(key)) return hash;
  const std::string text = fmt::format("{}={}", key, value);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  for (std::size_t i = 0; i < digest.size(); ++i)
    hash.words_[i / 8] |= std::uint64_t{digest[i]} << (8 * (i % 8));
  return hash;
}

ConfigHash hash_of(const ResolvedConfig& config) {
  ConfigHash hash;
  for (const Setting& setting : config.settings)
    hash += ConfigHash::of(setting.key, flow_text(setting.value));
  for (const auto& [key, setting] : config.own)
    hash += ConfigHash::of("meshsim." + key, flow_text(setting.value));
  return hash;
}

bool is_secret(std::string_view key) {
  for (const std::string_view part : {"access_token", "api_key", "password", "secret"}) {
    if (key.find(part) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace meshsim
