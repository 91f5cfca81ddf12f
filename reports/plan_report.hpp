// A plan's step as JSON and as a table with the verdict in its last lines.
#pragma once

#include <string>
#include <string_view>

#include "reports/document.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// Schema https://meshsim.dev/schema/plan/1; `kind` is "fit" or "simulate". Where the step is not
// modelled, `step_time_ps` and what follows from it are null and `time` and `collectives` are
// empty.
Json plan_json(const Evaluation& evaluation, std::string_view kind);

std::string plan_table(const Evaluation& evaluation);

}  // namespace meshsim
