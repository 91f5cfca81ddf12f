// The hash of a configuration: what tells two plans apart, whoever set their keys.
//
//   hash = sum over keys of SHA-256("key=value")  mod 2^256
//
// A sum, so that the hash of a plan that differs from another in a few keys follows from the
// other's: subtract the old terms, add the new ones. Equal configurations have equal hashes; that
// two different ones of a study collide is as unlikely as for SHA-256 itself (nobody searches for
// collisions among one's own plans). Credentials are left out: a hash of a password tells who
// guesses it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "plans/resolved_config.hpp"

namespace meshsim {

class ConfigHash {
 public:
  ConfigHash& operator+=(const ConfigHash& other);
  ConfigHash& operator-=(const ConfigHash& other);
  bool operator==(const ConfigHash&) const = default;

  std::string hex() const;  // 64 digits

  // The term of one key.
  static ConfigHash of(std::string_view key, std::string_view value);

 private:
  std::array<std::uint64_t, 4> words_{};  // the least significant first
};

ConfigHash hash_of(const ResolvedConfig& config);

// Keys whose values are credentials and never shown.
bool is_secret(std::string_view key);

}  // namespace meshsim
