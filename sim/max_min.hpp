// Max-min fair sharing of resources among activities.
//
// Activity i runs at a speed s_i in [0, 1], 1 being its speed alone, and then takes s_i use_ir of
// resource r, whose capacity is 1. The solution is max-min fair: no speed can be raised without
// lowering one that is not larger. Progressive filling: all speeds rise together; a resource that
// fills up fixes the speeds of those who use it.
//
//   certificate: every activity has speed 1, or crosses a full resource on which no other has a
//   higher speed
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace meshsim {

// uses[i][r] >= 0. All rows have the same length.
std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses);

}  // namespace meshsim
