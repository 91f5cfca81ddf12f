#include "reports/validation_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json row_json(const ValidationRow& row) {
  return {{"id", row.id},
          {"family", row.family},
          {"kind", row.kind},
          {"model", row.model},
          {"chip", row.chip},
          {"quality", text_or_null(row.quality)},
          {"ablation", text_or_null(row.ablation)},
          {"status", name(row.status)},
          {"reason", text_or_null(row.reason)},
          {"command", text_or_null(row.command)},
          {"predicted_step_time_s", or_null(row.step_time_s.predicted)},
          {"measured_step_time_s", or_null(row.step_time_s.measured)},
          {"error_ratio", or_null(row.step_time_s.error())},
          {"interval_low_s", or_null(row.interval_low_s)},
          {"interval_high_s", or_null(row.interval_high_s)},
          {"predicted_arguments_gib", or_null(row.arguments_gib.predicted)},
          {"measured_arguments_gib", or_null(row.arguments_gib.measured)},
          {"predicted_temp_gib", or_null(row.temp_gib.predicted)},
          {"measured_temp_gib", or_null(row.temp_gib.measured)},
          {"predicted_total_gib", or_null(row.total_gib.predicted)},
          {"measured_total_gib", or_null(row.total_gib.measured)},
          {"total_error_ratio", or_null(row.total_gib.error())},
          {"total_interval_low_gib", or_null(row.total_low_gib)},
          {"total_interval_high_gib", or_null(row.total_high_gib)},
          {"predicted_peak_bytes", or_null(row.peak_bytes)},
          {"oom_predicted", or_null(row.oom_predicted)},
          {"oom_measured", or_null(row.oom_measured)}};
}

Json ablation_json(const AblationOrder& ablation) {
  Json json = {{"name", ablation.name},
               {"rows", ablation.rows},
               {"pairs", ablation.pairs},
               {"pairs_in_order", ablation.pairs_in_order},
               {"out_of_order", ablation.out_of_order}};
  json["step_time"] = statistics_json(ablation.step_time);
  return json;
}

Json coverage_json(const std::optional<Coverage>& coverage) {
  if (!coverage) return nullptr;
  return {{"rows", coverage->rows},
          {"ratio", coverage->ratio},
          {"standard_error_ratio", coverage->standard_error}};
}

std::string coverage_line(const char* label, const std::optional<Coverage>& coverage) {
  if (!coverage) return fmt::format("{:<46}{:>5}\n", label, 0);
  return fmt::format("{:<46}{:>5}{:>9.0f} % +- {:.0f} %\n", label, coverage->rows,
                     100 * coverage->ratio, 100 * coverage->standard_error);
}

std::string percent(std::optional<double> ratio) {
  return ratio ? fmt::format("{:+.1f} %", 100 * *ratio) : "-";
}

std::string figure(std::optional<double> value, int decimals) {
  return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

std::string fits(std::optional<bool> oom) { return !oom ? "-" : *oom ? "OOM" : "fits"; }

std::string row_line(const ValidationRow& row) {
  std::string line =
      fmt::format("{:<8}{:<26}{:<18}{:<10}{:>11}{:>11}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}",
                  printable(row.id), printable(row.model), printable(row.family),
                  printable(row.quality), figure(row.step_time_s.measured, 3),
                  figure(row.step_time_s.predicted, 3), percent(row.step_time_s.error()),
                  figure(row.total_gib.measured, 1), figure(row.total_gib.predicted, 1),
                  percent(row.total_gib.error()), fits(row.oom_measured), fits(row.oom_predicted));
  if (row.status != RowStatus::ok) line += fmt::format("  {}", name(row.status));
  if (!row.reason.empty()) line += ": " + printable(row.reason);
  return line + "\n";
}

std::string statistics_line(const std::string& label, const ErrorStatistics& errors) {
  if (errors.rows == 0) return fmt::format("{:<40}{:>5}\n", label, 0);
  return fmt::format("{:<40}{:>5}{:>10}{:>10}{:>10}{:>10}{:>10} {}\n", label, errors.rows,
                     fmt::format("{:.1f} %", 100 * errors.mean_abs),
                     fmt::format("{:.1f} %", 100 * errors.median_abs), percent(errors.bias),
                     fmt::format("{:.1f} %", 100 * errors.spread), percent(errors.worst_error),
                     printable(errors.worst));
}

}  // namespace

std::string kind_and_quality(const std::string& kind, const std::string& quality) {
  return quality.empty() ? kind : kind + " " + quality;
}

std::string_view name(RowStatus status) {
  switch (status) {
    case RowStatus::ok: return "ok";
    case RowStatus::inconclusive: return "inconclusive";
    case RowStatus::not_modelled: return "not_modelled";
    case RowStatus::refused: return "refused";
  }
  return "";
}

std::optional<double> Compared::error() const {
  if (!predicted || !measured || *measured == 0) return {};
  return *predicted / *measured - 1;
}

ErrorStatistics statistics_of(const std::vector<std::pair<std::string, double>>& errors) {
  ErrorStatistics result;
  std::vector<double> sizes;
  double sum = 0;
  double squares = 0;
  for (const auto& [id, error] : errors) {
    sizes.push_back(std::abs(error));
    sum += error;
    squares += error * error;
    if (result.worst.empty() || std::abs(error) > std::abs(result.worst_error)) {
      result.worst = id;
      result.worst_error = error;
    }
  }
  result.rows = static_cast<std::int64_t>(sizes.size());
  if (sizes.empty()) return result;
  const auto n = static_cast<double>(sizes.size());
  for (const double size : sizes) result.mean_abs += size / n;
  result.bias = sum / n;
  if (n > 1) result.spread = std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
  std::sort(sizes.begin(), sizes.end());
  const std::size_t half = sizes.size() / 2;
  result.median_abs = sizes.size() % 2 == 1 ? sizes[half] : (sizes[half - 1] + sizes[half]) / 2;
  return result;
}

Json statistics_json(const ErrorStatistics& errors) {
  const auto figure = [&](double value) { return errors.rows > 0 ? Json(value) : Json(nullptr); };
  Json worst = nullptr;
  if (errors.rows > 0) worst = {{"id", errors.worst}, {"error_ratio", errors.worst_error}};
  return {{"rows", errors.rows},
          {"mean_abs_error_ratio", figure(errors.mean_abs)},
          {"median_abs_error_ratio", figure(errors.median_abs)},
          {"bias_ratio", figure(errors.bias)},
          {"spread_ratio", figure(errors.spread)},
          {"worst", std::move(worst)}};
}

Json validation_json(const Validation& validation) {
  Json report = report_head("validate");
  report["provenance"] = {{"version", version},
                          {"runs", validation.runs_name},
                          {"runs_sha256", sha256(validation.runs_text)},
                          {"calibration_sha256", sha256(validation.calibration_text)},
                          {"fidelity", validation.fidelity},
                          {"seed", 0}};
  Json summary = statistics_json(validation.step_time);
  summary["arguments"] = statistics_json(validation.arguments);
  summary["total"] = statistics_json(validation.total);
  summary["oom_rows"] = validation.oom_rows;
  summary["oom_right"] = validation.oom_right;
  summary["oom_inconclusive"] = validation.oom_inconclusive;
  summary["coverage"] = {
      {"nominal_ratio", interval_coverage},
      {"step_time", coverage_json(validation.step_time_inside)},
      {"total", coverage_json(validation.total_inside)},
      {"step_time_cross_validated", coverage_json(validation.step_time_cross_validated)},
      {"peak_cross_validated", coverage_json(validation.peak_cross_validated)}};
  report["summary"] = std::move(summary);
  report["groups"] = Json::array();
  for (const ValidationGroup& group : validation.groups) {
    report["groups"].push_back(
        {{"by", group.by}, {"name", group.name}, {"step_time", statistics_json(group.step_time)}});
  }
  report["ablations"] = Json::array();
  for (const AblationOrder& ablation : validation.ablations)
    report["ablations"].push_back(ablation_json(ablation));
  report["rows"] = Json::array();
  for (const ValidationRow& row : validation.rows) report["rows"].push_back(row_json(row));
  report["not_modelled"] = validation.not_modelled;
  return report;
}

std::string validation_table(const Validation& validation) {
  std::string text = fmt::format(
      "{:<8}{:<26}{:<18}{:<10}{:>11}{:>11}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}\n", "run", "model",
      "family", "quality", "step s", "predicted", "error", "GiB", "predicted", "error", "ran", "");
  for (const ValidationRow& row : validation.rows) text += row_line(row);
  text += fmt::format("\n{:<40}{:>5}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "error of the step time",
                      "rows", "mean |e|", "median", "bias", "spread", "worst");
  for (const ValidationGroup& group : validation.groups)
    text += statistics_line(group.by + " " + group.name, group.step_time);
  text += statistics_line("all", validation.step_time);
  text += fmt::format("\n{:<40}{:>5}{:>10}\n", "order within an ablation", "pairs", "right");
  for (const AblationOrder& ablation : validation.ablations) {
    text += fmt::format("{:<40}{:>5}{:>10}\n", printable(ablation.name), ablation.pairs,
                        ablation.pairs_in_order);
    for (const std::string& pair : ablation.out_of_order)
      text += fmt::format("  wrong: {}\n", printable(pair));
  }
  text += "\nmemory\n" + statistics_line("arguments", validation.arguments) +
          statistics_line("arguments + output + temp - alias", validation.total);
  text += fmt::format("out of memory or not: {} of {} right, {} inconclusive\n",
                      validation.oom_right, validation.oom_rows, validation.oom_inconclusive);
  text +=
      fmt::format("\n{:<46}{:>5}{:>11}\n", "measured within the 80 % interval", "rows", "share");
  text +=
      coverage_line("step times", validation.step_time_inside) +
      coverage_line("memory", validation.total_inside) +
      coverage_line("step times, cross-validated by family", validation.step_time_cross_validated) +
      coverage_line("memory, cross-validated by family", validation.peak_cross_validated);
  if (!validation.not_modelled.empty()) text += "not modelled:\n";
  for (const std::string& item : validation.not_modelled) text += "  " + printable(item) + "\n";
  return text;
}

}  // namespace meshsim
