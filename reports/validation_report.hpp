// What `meshsim validate` says: predicted against measured, run by run and together.
//
//   error = predicted / measured - 1
//   over n rows: mean |error|, median |error|, bias = mean error, spread = standard deviation of
//   the errors (n - 1), worst = the row of the largest |error|
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/document.hpp"

namespace meshsim {

enum class RowStatus {
  ok,
  inconclusive,  // whether it fits lies within the model's error
  not_modelled,  // the plan needs what meshsim does not simulate
  refused,       // JAX, MaxText or meshsim refuse the plan
};
std::string_view name(RowStatus status);

// A figure twice.
struct Compared {
  std::optional<double> predicted, measured;
  std::optional<double> error() const;
};

struct ValidationRow {
  std::string id, family, kind, model, chip, quality, ablation;
  RowStatus status = RowStatus::ok;
  std::string reason;   // of a row that is not ok
  std::string command;  // that predicts it
  Compared step_time_s;
  std::optional<double> interval_low_s, interval_high_s;
  std::optional<double> total_low_gib, total_high_gib;
  Compared arguments_gib, temp_gib;
  Compared total_gib;  // argument + output + temp - alias; or what the compiler needed in vain
  std::optional<std::int64_t> peak_bytes;
  std::optional<bool> oom_predicted, oom_measured;
};

struct ErrorStatistics {
  std::int64_t rows = 0;  // with an error
  double mean_abs = 0, median_abs = 0, bias = 0, spread = 0;
  std::string worst;  // id
  double worst_error = 0;
};

// "train_step exact"; "train_step" of a run whose quality is not stated.
std::string kind_and_quality(const std::string& kind, const std::string& quality);

// Rows that share a label: "family fsdp_moe", "quality train_step exact".
struct ValidationGroup {
  std::string by, name;
  ErrorStatistics step_time;
};

// Do predictions order the rows of one ablation as measurements do? A pair counts if its measured
// times differ by more than `ablation_margin`.
inline constexpr double ablation_margin = 0.03;
struct AblationOrder {
  std::string name;
  std::int64_t rows = 0, pairs = 0, pairs_in_order = 0;
  std::vector<std::string> out_of_order;  // "r058 measured slower than r056"
  ErrorStatistics step_time;
};

struct Validation {
  std::string runs_name, runs_text;
  std::string calibration_text;
  std::string fidelity;
  std::vector<ValidationRow> rows;
  ErrorStatistics step_time, arguments, total;  // summaries
  std::vector<ValidationGroup> groups;
  // Of the 80 % intervals: over the rows of this report, and over the calibration's residuals, each
  // by what the other families say.
  std::optional<Coverage> step_time_inside, total_inside;
  std::optional<Coverage> step_time_cross_validated, peak_cross_validated;
  std::vector<AblationOrder> ablations;
  // Rows with a measured outcome; those predicted right; those predicted wrong, but within the
  // margin in which meshsim calls a verdict inconclusive.
  std::int64_t oom_rows = 0, oom_right = 0, oom_inconclusive = 0;
  std::vector<std::string> not_modelled;
};

// Of pairs of id and error.
ErrorStatistics statistics_of(const std::vector<std::pair<std::string, double>>& errors);
Json statistics_json(const ErrorStatistics& errors);

Json validation_json(const Validation& validation);
std::string validation_table(const Validation& validation);

}  // namespace meshsim
