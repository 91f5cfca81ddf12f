// The k largest values of a row: descending, ties to the lowest index (as jax.lax.top_k has it).
#pragma once

#include <cstdint>
#include <vector>

#include "routing/slot_order.hpp"

namespace meshsim {

// A tournament: the largest of each block of 16 values is kept, so that taking one winner costs
// 16 comparisons in its block and E/16 between blocks. Holds its scratch space; one per thread.
class TopK {
 public:
  TopK(std::int64_t width, std::int64_t k);

  void operator()(const float* values, ExpertId* chosen);

 private:
  std::int64_t width_, k_, blocks_;
  std::vector<float> values_;  // [blocks, 16], padded with -infinity
  std::vector<float> best_;    // [blocks]
};

}  // namespace meshsim
