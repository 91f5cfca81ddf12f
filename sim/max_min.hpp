// Fair sharing of resources among activities that each need several at once.
//
// Activity i runs at a speed s_i in [0, 1], 1 being its speed alone, and then takes s_i use_ir of
// resource r, whose capacity is 1. Every resource is shared max-min fairly, as a memory controller
// or a link arbitrates: whoever asks for less than the fair level gets what it asks for, the others
// get the level. An activity goes as fast as its scarcest resource lets it:
//
//   s_i = min(1, min_r level_r / use_ir),   sum_i s_i use_ir = 1 wherever level_r binds
//
// (bottleneck max fairness: Bonald and Roberts, Multi-resource fairness, SIGMETRICS 2015)
//
//   certificate: every activity has speed 1, or crosses a full resource of which no other takes a
//   larger share
//
// A resource whose uses sum to at most 1 binds nobody: its level is at least
// 1 - sum of the others' demands >= use_ir for every i. Only the others are solved for.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace meshsim {

// Holds its scratch space: a system no larger than one before is solved without allocation.
class MaxMin {
 public:
  // Row i of `uses` holds use_ir >= 0 of `resources` resources; speeds[i] is set.
  void solve(std::span<const double* const> uses, std::size_t resources, std::span<double> speeds);

 private:
  double speed(const double* use, std::size_t except) const;
  double water_level(std::size_t contended, std::span<const double* const> uses);

  std::vector<std::size_t> contended_;
  std::vector<double> sums_, levels_, next_, demands_;
};

// uses[i][r] >= 0. All rows have the same length.
std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses);

}  // namespace meshsim
