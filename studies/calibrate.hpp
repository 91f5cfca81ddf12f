// Fitting what chips reach of their sheets to measured step times.
//
//   t_i(c)  the step time of run i, by the ordinary path with the constants c
//   m_i     measured
//   e_i     = ln t_i - ln m_i, expected to be 2 % where a run was published completely (or is the
//             user's own) and 6 % where something of it was inferred
//
// The constants that have a prior are fitted in their logarithms (studies/robust_fit.hpp), all
// others stay. Programs do not depend on the constants: each run is lowered once and priced often.
#pragma once

#include "reports/calibration_report.hpp"
#include "studies/published_runs.hpp"

namespace meshsim {

// Fits to the runs that have a measured time: training steps, and MoE blocks alone. `priors` says
// which constants, and their priors; chips without constants of their own share those of any chip.
// Throws Error(invalid_input) if no run can be used.
CalibrationFit calibrate(const PublishedRuns& runs, const Calibration& priors);

}  // namespace meshsim
