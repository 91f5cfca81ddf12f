// How likely a plan fits, given how well its bytes are known.
//
//   peak = arguments + temp     P(fits) = Phi((usable - arguments - temp) / (sigma temp))
//
// Arguments (state and batch) agree with XLA to the byte wherever that was published; temporary
// bytes are taken as normal around the prediction, with a relative deviation of sigma = 8 %: the
// one published figure of a whole DeepSeek-V4 step (MaxText PR 4153, read August 2026) has 94.9 GB
// of temp where 102.4 GB are predicted, which is 7.9 %. One figure is no distribution: read it as
// "with a margin of 1.6 such errors" for 0.95.
#pragma once

#include "sim/answer.hpp"

namespace meshsim {

inline constexpr double temp_deviation = 0.08;

// 0 or 1 where the step has no temporary bytes that could vary.
double fit_probability(const Answer& answer);

}  // namespace meshsim
