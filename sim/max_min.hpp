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
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace meshsim {

// uses[i][r] >= 0. All rows have the same length.
std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses);

}  // namespace meshsim
