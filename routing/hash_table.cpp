#include "routing/hash_table.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <numeric>

#include "routing/integer_lines.hpp"
#include "routing/random.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

__extension__ using Digest = unsigned __int128;

void check(std::int64_t top_k, std::int64_t experts) {
  if (top_k < 1 || top_k > experts)
    throw Error(ErrorKind::invalid_input,
                fmt::format("top_k {} must lie between 1 and the {} experts", top_k, experts));
}

HashTable empty_table(std::int64_t vocab, std::int64_t top_k) {
  return {vocab, top_k, std::vector<ExpertId>(static_cast<std::size_t>(vocab * top_k))};
}

Digest md5(EVP_MD_CTX* context, const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned length = 0;
  if (EVP_DigestInit_ex(context, EVP_md5(), nullptr) != 1 ||
      EVP_DigestUpdate(context, text.data(), text.size()) != 1 ||
      EVP_DigestFinal_ex(context, bytes.data(), &length) != 1)
    throw Error(ErrorKind::internal, "OpenSSL refuses to compute MD5");
  Digest digest = 0;
  for (unsigned i = 0; i < length; ++i) digest = digest << 8 | bytes[i];
  return digest;
}

}  // namespace

std::span<const ExpertId> HashTable::row(std::int64_t token) const {
  if (token < 0 || token >= vocab)
    throw Error(ErrorKind::invalid_input,
                fmt::format("token id {} is outside the vocabulary of {}", token, vocab));
  return std::span(experts).subspan(static_cast<std::size_t>(token * top_k),
                                    static_cast<std::size_t>(top_k));
}

bool HashTable::repeats_experts() const {
  for (std::int64_t token = 0; token < vocab; ++token) {
    const auto ids = row(token);
    for (std::size_t a = 0; a < ids.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        if (ids[a] == ids[b]) return true;
  }
  return false;
}

HashTable zeros_hash_table(std::int64_t vocab, std::int64_t top_k) {
  return empty_table(vocab, top_k);
}

HashTable random_hash_table(std::int64_t vocab, std::int64_t top_k, std::int64_t experts,
                            std::uint64_t seed) {
  check(top_k, experts);
  HashTable table = empty_table(vocab, top_k);
  std::vector<ExpertId> free(static_cast<std::size_t>(experts));
  std::iota(free.begin(), free.end(), 0);
  for (std::int64_t token = 0; token < vocab; ++token) {
    for (std::int64_t j = 0; j < top_k; ++j) {  // Fisher and Yates, the first k steps
      const auto slot = static_cast<std::uint64_t>(token * top_k + j);
      const auto pick = static_cast<std::size_t>(j + random_below(seed, slot, experts - j));
      std::swap(free[static_cast<std::size_t>(j)], free[pick]);
      table.experts[slot] = free[static_cast<std::size_t>(j)];
    }
  }
  return table;
}

HashTable md5_hash_table(std::int64_t vocab, std::int64_t top_k, std::int64_t experts) {
  check(top_k, experts);
  HashTable table = empty_table(vocab, top_k);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  std::vector<ExpertId> free(static_cast<std::size_t>(experts));
  for (std::int64_t token = 0; token < vocab; ++token) {
    Digest digest = md5(context.get(), std::to_string(token));
    free.resize(static_cast<std::size_t>(experts));
    std::iota(free.begin(), free.end(), 0);
    for (std::int64_t j = 0; j < top_k; ++j) {
      const auto count = static_cast<unsigned>(experts - j);
      const auto pick = static_cast<std::ptrdiff_t>(digest % count);
      digest /= count;
      table.experts[static_cast<std::size_t>(token * top_k + j)] =
          free[static_cast<std::size_t>(pick)];
      free.erase(free.begin() + pick);
    }
  }
  return table;
}

HashTable parse_hash_table(const Source& source, std::int64_t vocab, std::int64_t top_k,
                           std::int64_t experts) {
  check(top_k, experts);
  HashTable table = empty_table(vocab, top_k);
  std::int64_t token = 0;
  for_each_line_of_integers(
      source, 0, experts - 1, [&](int line, std::span<const std::int64_t> ids) {
        if (static_cast<std::int64_t>(ids.size()) != top_k)
          throw Error(
              ErrorKind::invalid_input,
              Diagnostic{{source.name, line, 1},
                         {},
                         fmt::format("must have top_k={} expert ids (got {})", top_k, ids.size()),
                         {}});
        if (token < vocab)
          for (std::int64_t j = 0; j < top_k; ++j)
            table.experts[static_cast<std::size_t>(token * top_k + j)] =
                static_cast<ExpertId>(ids[static_cast<std::size_t>(j)]);
        ++token;
      });
  if (token != vocab)
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{source.name},
                           {},
                           fmt::format("must have one line for each of {} token ids (got {})",
                                       vocab, token),
                           {}});
  return table;
}

}  // namespace meshsim
