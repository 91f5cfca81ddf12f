// What chips reach of their sheets: schema calibration/1.
//
//   {"$schema": ".../calibration/1", "format_version": "1.0", "kind": "calibration",
//    "constants": [{name, unit, chip, value, low, high, source,
//                   prior: null | {value, log_sigma}, fitted_rows: [id, ...], residual_ratio}],
//    "step_time": [{id, family, error_ratio, left_out_error_ratio,
//                   model_left_out_error_ratio}], "peak": [the same]}
//
// Every name of `calibration_names()` stands once for chip "any", and may stand again for a chip
// of which more is known. A constant has a source, or rows that it was fitted to; if fitted, its
// prior is a Gaussian on the logarithm, and low and high are the 80 % interval of its posterior.
// The residuals are predicted / measured - 1 of the rows that the fit has seen, with all of them
// fitted, with the row's family left out and with its model left out; intervals of predictions come
// from these.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inputs/source.hpp"

namespace meshsim {

inline constexpr std::string_view any_chip = "any";

struct Prior {
  double value = 1;
  double log_sigma = 0;
};

struct CalibrationConstant {
  std::string name, unit, chip;
  double value = 1, low = 1, high = 1;
  std::string source;
  std::optional<Prior> prior;            // absent: not to be fitted
  std::vector<std::string> fitted_rows;  // ids
  std::optional<double> residual_ratio;  // root mean square error of these rows
};

// Predicted / measured - 1 of one row.
struct CalibrationResidual {
  std::string id, family;
  double error = 0;
  double left_out = 0;        // fitted without the row's family
  double model_left_out = 0;  // fitted without the row's model
};

struct Calibration {
  Source file;  // what it was read from
  std::vector<CalibrationConstant> constants;
  std::vector<CalibrationResidual> step_time, peak;

  // The constant of `chip`, or else of any chip. Throws std::logic_error for an unknown name.
  const CalibrationConstant& at(std::string_view name, std::string_view chip) const;
  double value(std::string_view name, std::string_view chip) const { return at(name, chip).value; }
};

// A name that prices ask for, and what it is a number of.
struct CalibrationName {
  std::string_view name;
  std::string_view unit;  // "share" lies in (0, 1]
  std::string_view meaning;
};
std::span<const CalibrationName> calibration_names();

// Throws Error(invalid_input) with every fault of the file.
Calibration parse_calibration(const Source& file);

// The one that comes with meshsim.
std::shared_ptr<const Calibration> builtin_calibration();

}  // namespace meshsim
