// Predicted against measured: published runs through the ordinary path.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "reports/validation_report.hpp"
#include "sim/evaluation.hpp"
#include "studies/published_runs.hpp"

namespace meshsim {

// Every run becomes a row; one that cannot be predicted says why. `calibration` is the path of a
// calibration file, or "".
Validation validate(const PublishedRuns& runs, Fidelity fidelity, const std::string& calibration);

// Why rows of the public file miss, by their ids, as far as it is known (studies/runs/causes.yml).
std::map<std::string, std::string> known_causes();

// Over the rows that have both figures of `compared`.
ErrorStatistics statistics_of(const std::vector<const ValidationRow*>& rows,
                              Compared ValidationRow::*compared);

}  // namespace meshsim
