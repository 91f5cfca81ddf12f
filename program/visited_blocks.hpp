// Blocks of a flash-attention grid that hold at least one visible (query, key) pair.
#pragma once

#include <cstdint>

#include "model_specs/model_spec.hpp"

namespace meshsim {

struct BlockShape {
  std::int64_t queries, keys;
};

// The queries [begin, end) of a sequence; its keys start at 0.
struct QueryRange {
  std::int64_t begin, end;
};

// Over the raw tokens of one sequence. A block row of queries [a, b) visits the key blocks from
// that of the first key that a sees to that of b - 1.
std::int64_t visited_blocks(const Visibility& visibility, QueryRange queries, BlockShape block);

// Over compressed entries, one per `ratio` tokens: queries up to b - 1 see the first floor(b /
// ratio). Which of them a query chose does not matter: the choices of a block of queries scatter
// over all its key blocks.
std::int64_t visited_compressed_blocks(std::int64_t ratio, QueryRange queries, BlockShape block);

}  // namespace meshsim
