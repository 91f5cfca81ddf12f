// The k largest values of a row: descending, ties to the lowest index (as jax.lax.top_k has it).
#pragma once

#include <cstdint>
#include <vector>

#include "routing/slot_order.hpp"

namespace meshsim {

// Element e stands in lane e mod 16. Each of the k best lanes holds at least one value that is not
// below the k-th best lane's best, b: hence the k largest of all are not below b either, and stand
// in lanes whose best is not. Those lanes are searched, and what is not below b there (a few more
// than k) is ranked. Holds its scratch space; one per thread.
class TopK {
 public:
  // Throws Error(invalid_input) unless 1 <= k <= width.
  TopK(std::int64_t width, std::int64_t k);

  // A NaN counts as minus infinity; -0 equals 0.
  void operator()(const float* values, ExpertId* chosen);

 private:
  std::int64_t width_, k_, rounds_;
  std::vector<float> numbers_;      // [rounds, 16], padded with minus infinity
  std::vector<std::int64_t> keys_;  // of the candidates
};

}  // namespace meshsim
