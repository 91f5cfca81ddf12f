// docs/accuracy.md, from a validation: what was predicted, what was measured, and what to make of
// it.
#pragma once

#include <map>
#include <string>

#include "reports/validation_report.hpp"
#include "topologies/calibration.hpp"

namespace meshsim {

// `causes` says of rows, by their ids, or of ablations, by their names, why they miss as far as it
// is known.
std::string accuracy_page(const Validation& validation, const Calibration& calibration,
                          const std::map<std::string, std::string>& causes);

}  // namespace meshsim
