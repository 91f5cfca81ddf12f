// Dimensions of arrays that their mesh axes do not divide, which JAX refuses.
//
// Told once for each size and axes, however many arrays are alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "plans/plan.hpp"
#include "plans/state.hpp"

namespace meshsim {

// The largest divisor of `size` that is not above `parts`; both are positive.
std::int64_t nearest_degree(std::int64_t size, std::int64_t parts);

class Uneven {
 public:
  void add(const StateBuffer& buffer, std::size_t dimension);
  bool empty() const { return entries_.empty(); }

  // Throws Error(invalid_input), at the degree of the first axis, with the nearest one that
  // divides.
  void throw_if_any(const Plan& plan) const;

 private:
  struct Entry {
    StateBuffer first;
    std::size_t dimension;
    std::set<std::string> arrays;  // their names; an optimizer's copies are no arrays of their own

    std::int64_t size() const { return first.shape[dimension]; }
    const std::vector<std::string>& axes() const { return first.sharding[dimension]; }
  };
  std::vector<Entry> entries_;
};

}  // namespace meshsim
