// What came of a stretch of plans: the text of their rows, and what they add to the summary.
#pragma once

#include <string>

#include "studies/sweep/dealer.hpp"
#include "studies/sweep/summary.hpp"

namespace meshsim {

struct JudgedBlock {
  PlanRange range;
  std::string text;
  SummaryPart part;
  double seconds = 0;  // that judging took; 0 if the store knew some of them
};

}  // namespace meshsim
