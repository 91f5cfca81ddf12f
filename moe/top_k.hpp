// The k largest values of a row: descending, ties to the lowest index (as jax.lax.top_k has it).
#pragma once

#include <cstdint>
#include <vector>

#include "routing/slot_order.hpp"

namespace meshsim {

// Every value becomes a 64-bit key: the value in an order-preserving form above, the index counted
// downwards below, so that keys are distinct and the larger key is just the better choice. Element
// e plays in lane e mod 16; the best of each lane is known, and taking a winner costs 16
// comparisons between lanes and E/16 in its own. Holds its scratch space; one per thread.
class TopK {
 public:
  // Throws Error(invalid_input) unless 1 <= k <= width.
  TopK(std::int64_t width, std::int64_t k);

  // A NaN is smaller than any number; -0 equals 0.
  void operator()(const float* values, ExpertId* chosen);

 private:
  std::int64_t width_, k_, rounds_;
  std::vector<std::int64_t> keys_;  // [rounds, 16], padded with the least key
};

}  // namespace meshsim
