// Why a step takes as long as it does, and the first changes worth trying.
//
// The changes are found by trying them, one at a time, in closed form: remat policies, meshes
// (expert, tensor and context degrees, fsdp instead of data), the way tokens meet their experts,
// tiles of grouped products, blocks of attention, kernels, how collectives move, optimizer state on
// the device, the batch. A change is worth it if the plan is legal, fits, and trains more tokens
// per second and device. Of changes of one kind (the same keys) only the best is named.
#pragma once

#include <cstddef>

#include "reports/explain_report.hpp"

namespace meshsim {

// At most `most` changes. `evaluation` is of `request`, and has a step.
Improvements improvements(const PlanRequest& request, const Evaluation& evaluation,
                          std::size_t most = 3);

// `evaluation` has a step, or Error(invalid_input) is thrown with the reason.
Explanation explain(const PlanRequest& request, const Evaluation& evaluation);

}  // namespace meshsim
