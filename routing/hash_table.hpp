// Tables of hash routing: token id -> the k experts of that token, in a fixed order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "inputs/source.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

struct HashTable {
  std::int64_t vocab = 0, top_k = 0;
  std::vector<ExpertId> experts;  // [vocab, k]

  // The experts of one token. Throws Error(invalid_input) if the id is not in [0, vocab).
  std::span<const ExpertId> row(std::int64_t token) const;
  // Whether some row names an expert twice; such a token occupies that expert twice.
  bool repeats_experts() const;
};

// What a freshly initialised MaxText run has until a checkpoint fills it: every slot of every token
// goes to expert 0.
HashTable zeros_hash_table(std::int64_t vocab, std::int64_t top_k);

// k distinct experts per token, uniform.
HashTable random_hash_table(std::int64_t vocab, std::int64_t top_k, std::int64_t experts,
                            std::uint64_t seed);

// k distinct experts drawn from the MD5 digest of the token id's decimal digits. The digest is one
// big-endian number D; choice j is the (D mod (E - j))-th expert that is still free, and D becomes
// D div (E - j).
HashTable md5_hash_table(std::int64_t vocab, std::int64_t top_k, std::int64_t experts);

// A text of `vocab` lines with k expert ids each. Refused with line and column: another number of
// ids, an id not in [0, experts), too few or too many lines.
HashTable parse_hash_table(const Source& source, std::int64_t vocab, std::int64_t top_k,
                           std::int64_t experts);

}  // namespace meshsim
