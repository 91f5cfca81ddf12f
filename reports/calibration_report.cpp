#include "reports/calibration_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace meshsim {
namespace {

Json constant_json(const CalibrationConstant& one) {
  Json prior = nullptr;
  if (one.prior) prior = {{"value", one.prior->value}, {"log_sigma", one.prior->log_sigma}};
  return {{"name", one.name},
          {"unit", one.unit},
          {"chip", one.chip},
          {"value", one.value},
          {"low", one.low},
          {"high", one.high},
          {"source", one.source},
          {"prior", std::move(prior)},
          {"fitted_rows", one.fitted_rows},
          {"residual_ratio", one.residual_ratio ? Json(*one.residual_ratio) : Json(nullptr)}};
}

Json residuals_json(const std::vector<CalibrationResidual>& residuals) {
  Json list = Json::array();
  for (const CalibrationResidual& one : residuals) {
    list.push_back({{"id", one.id},
                    {"family", one.family},
                    {"error_ratio", one.error},
                    {"left_out_error_ratio", one.left_out},
                    {"model_left_out_error_ratio", one.model_left_out}});
  }
  return list;
}

struct Comparison {
  const char* name;
  double FittedRow::*error;
};
constexpr std::array<Comparison, 3> comparisons{{{"fitted", &FittedRow::error},
                                                 {"family_left_out", &FittedRow::family_left_out},
                                                 {"model_left_out", &FittedRow::model_left_out}}};

// Of all rows, "", and of those of one kind and quality, in the order of the rows.
std::vector<std::string> groups_of(const std::vector<FittedRow>& rows) {
  std::vector<std::string> groups{""};
  for (const FittedRow& row : rows) {
    const std::string group = kind_and_quality(row.kind, row.quality);
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  return groups;
}

Json fit_json(const CalibrationFit& fit) {
  Json json = {{"iterations", fit.iterations}, {"statistics", Json::array()}};
  for (const std::string& group : groups_of(fit.rows)) {
    for (const Comparison& comparison : comparisons) {
      Json one = {{"error", comparison.name}, {"group", group.empty() ? "all" : group}};
      one.update(statistics_json(statistics_of(fit.rows, comparison.error, group)));
      json["statistics"].push_back(std::move(one));
    }
  }
  json["rows"] = Json::array();
  for (const FittedRow& row : fit.rows) {
    json["rows"].push_back({{"id", row.id},
                            {"family", row.family},
                            {"model", row.model},
                            {"kind", row.kind},
                            {"quality", row.quality.empty() ? Json(nullptr) : Json(row.quality)},
                            {"measured_s", row.measured_s},
                            {"predicted_s", row.predicted_s},
                            {"weight_ratio", row.weight},
                            {"error_ratio", row.error},
                            {"family_left_out_error_ratio", row.family_left_out},
                            {"model_left_out_error_ratio", row.model_left_out}});
  }
  json["skipped"] = Json::array();
  for (const auto& [id, why] : fit.skipped)
    json["skipped"].push_back({{"id", id}, {"reason", why}});
  return json;
}

std::string percent(double ratio) { return fmt::format("{:+.1f} %", 100 * ratio); }

}  // namespace

ErrorStatistics statistics_of(const std::vector<FittedRow>& rows, double FittedRow::*error,
                              const std::string& group) {
  std::vector<std::pair<std::string, double>> errors;
  for (const FittedRow& row : rows) {
    if (group.empty() || kind_and_quality(row.kind, row.quality) == group)
      errors.emplace_back(row.id, row.*error);
  }
  return statistics_of(errors);
}

Json calibration_json(const CalibrationFit& fit) {
  Json report = report_head("calibration");
  report["provenance"] = {{"version", version},
                          {"runs", fit.runs_name},
                          {"runs_sha256", sha256(fit.runs_text)},
                          {"fidelity", "closed-form"},
                          {"seed", 0}};
  report["constants"] = Json::array();
  for (const CalibrationConstant& one : fit.calibration.constants)
    report["constants"].push_back(constant_json(one));
  report["step_time"] = residuals_json(fit.calibration.step_time);
  report["peak"] = residuals_json(fit.calibration.peak);
  report["fit"] = fit_json(fit);
  return report;
}

std::string calibration_table(const CalibrationFit& fit) {
  std::string text = fmt::format("{:<22}{:<18}{:<6}{:>12}{:>12}{:>12}{:>12}{:>6}\n", "constant",
                                 "unit", "chip", "prior", "fitted", "low", "high", "rows");
  for (const CalibrationConstant& one : fit.calibration.constants) {
    text +=
        fmt::format("{:<22}{:<18}{:<6}{:>12}{:>12.4g}{:>12.4g}{:>12.4g}{:>6}\n", one.name, one.unit,
                    one.chip, one.prior ? fmt::format("{:.4g}", one.prior->value) : "-", one.value,
                    one.low, one.high, one.fitted_rows.size());
  }
  text +=
      fmt::format("\n{:<10}{:<26}{:<10}{:>10}{:>11}{:>9}{:>10}{:>14}{:>14}\n", "run", "model",
                  "quality", "measured", "predicted", "weight", "error", "family out", "model out");
  for (const FittedRow& row : fit.rows) {
    text += fmt::format("{:<10}{:<26}{:<10}{:>10.3f}{:>11.3f}{:>9.2f}{:>10}{:>14}{:>14}\n",
                        printable(row.id), printable(row.model), printable(row.quality),
                        row.measured_s, row.predicted_s, row.weight, percent(row.error),
                        percent(row.family_left_out), percent(row.model_left_out));
  }
  text += fmt::format("\n{:<38}{:>6}{:>10}{:>10}{:>10}\n", "error of the step time", "rows",
                      "mean |e|", "median", "bias");
  for (const std::string& group : groups_of(fit.rows)) {
    for (const Comparison& comparison : comparisons) {
      const ErrorStatistics errors = statistics_of(fit.rows, comparison.error, group);
      text += fmt::format("{:<38}{:>6}{:>10}{:>10}{:>10}\n",
                          fmt::format("{} {}", group.empty() ? "all" : group, comparison.name),
                          errors.rows, fmt::format("{:.1f} %", 100 * errors.mean_abs),
                          fmt::format("{:.1f} %", 100 * errors.median_abs), percent(errors.bias));
    }
  }
  for (const auto& [id, why] : fit.skipped)
    text += fmt::format("not used: {}: {}\n", printable(id), printable(why));
  return text;
}

}  // namespace meshsim
