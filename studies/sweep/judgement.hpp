// What a sweep finds out about one plan.
#pragma once

#include <string>

#include "reports/sweep_report.hpp"

namespace meshsim {

struct Judgement {
  SweepOutcome outcome;
  std::string plan_hash;  // of the resolved plan, or of the words of one that cannot be resolved
};

}  // namespace meshsim
