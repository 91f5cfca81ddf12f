// How many (query, key) pairs an attention pattern visits over one sequence of S tokens.
//
// All counts are exact integers; dividing by S gives the mean number of keys per query.
#pragma once

#include <cstdint>

#include "model_specs/model_spec.hpp"

namespace meshsim {

// Raw tokens: full S(S+1)/2; sliding W(W+1)/2 + (S-W)W for S > W; chunked the full sum per chunk.
std::int64_t visible_pairs(const Visibility& visibility, std::int64_t S);

// Compressed entries: query t sees floor((t+1)/r) of them, at most `limit` (limit < 0: no limit).
std::int64_t compressed_pairs(std::int64_t ratio, std::int64_t limit, std::int64_t S);

}  // namespace meshsim
