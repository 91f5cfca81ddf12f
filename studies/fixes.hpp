// What would make a plan fit: its neighbours that need less memory, cheapest first.
#pragma once

#include <vector>

#include "reports/plan_report.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// One change of the plan each: the sparse MoE path, flash attention, expert parallelism, remat,
// fsdp in place of data, optimizer state split over data, in bfloat16 or on the host, half the
// batch, a larger slice. The changes are tried in this order, from those that change no number of
// the training run to those that do; the search ends with `enough` plans that fit. Returned: every
// change that saves memory, those that fit first, then by step time.
std::vector<Fix> cheapest_fixes(const PlanRequest& request, const Evaluation& evaluation,
                                std::size_t enough = 3);

}  // namespace meshsim
