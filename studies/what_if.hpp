// A plan and its neighbours, evaluated side by side.
#pragma once

#include <string>
#include <vector>

#include "reports/what_if_report.hpp"

namespace meshsim {

// `vary`: "key=a,b,c" each. The plan itself, then one neighbour per key and value. A neighbour that
// MaxText refuses stays in the list with its reason. Throws Error if the plan itself is refused or
// a `vary` is malformed.
std::vector<Variant> what_if(const PlanRequest& request, const std::vector<std::string>& vary,
                             Fidelity fidelity);

}  // namespace meshsim
