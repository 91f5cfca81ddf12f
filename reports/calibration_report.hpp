// What `meshsim calibrate` says: a calibration/1 file, and how well it fits.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/document.hpp"
#include "reports/validation_report.hpp"
#include "topologies/calibration.hpp"

namespace meshsim {

// A run that the fit has seen.
struct FittedRow {
  std::string id, family, model, kind, quality;
  double measured_s = 0, predicted_s = 0;
  double weight = 0;  // 1: as believed as its quality says; near 0: no constant explains it
  double error = 0, family_left_out = 0, model_left_out = 0;  // predicted / measured - 1
};

struct CalibrationFit {
  Calibration calibration;  // file is not set
  std::string runs_name, runs_text;
  int iterations = 0;
  std::vector<FittedRow> rows;
  std::vector<std::pair<std::string, std::string>> skipped;  // id, why
};

// Statistics of one kind of error over the rows of one kind and quality, `group` ("": all).
ErrorStatistics statistics_of(const std::vector<FittedRow>& rows, double FittedRow::*error,
                              const std::string& group);

Json calibration_json(const CalibrationFit& fit);
std::string calibration_table(const CalibrationFit& fit);

}  // namespace meshsim
