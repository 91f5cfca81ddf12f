#include "reports/what_if_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "units/print.hpp"

namespace meshsim {
namespace {

std::string verdict_name(const Variant& variant) {
  return variant.verdict ? std::string(name(*variant.verdict)) : "refused";
}

std::map<std::string, double> by_cause(const Variant& variant) {
  std::map<std::string, double> causes;
  for (const TimePart& part : variant.parts)
    causes[part.cause] += static_cast<double>(part.time.value());
  return causes;
}

// The cause of which the step's time changed most: "-1.93 s exposed:fsdp".
std::string main_cause(const Variant& base, const Variant& variant) {
  if (!base.step_time || !variant.step_time) return "";
  std::map<std::string, double> difference = by_cause(variant);
  for (const auto& [cause, time] : by_cause(base)) difference[cause] -= time;
  const std::string* largest = nullptr;
  double change = 0;
  for (const auto& [cause, time] : difference) {
    if (std::abs(time) > std::abs(change)) {
      largest = &cause;
      change = time;
    }
  }
  if (largest == nullptr) return "no change of time";
  const Picoseconds size(static_cast<std::int64_t>(std::abs(change)));
  return fmt::format("{}{} {}", change < 0 ? "-" : "+", human(size), *largest);
}

std::string relative(double now, double before) {
  return fmt::format("{:+.1f} %", 100 * (now / before - 1));
}

}  // namespace

Json what_if_json(const ResolvedConfig& config, const std::vector<Variant>& variants,
                  const Sensitivities* sensitivity) {
  Json report = report_head("what-if");
  report["provenance"] = provenance(config);
  report["plans"] = Json::array();
  for (const Variant& variant : variants) {
    const bool timed = variant.step_time.has_value();
    Json causes = Json::array();
    for (const auto& [cause, time] : by_cause(variant))
      causes.push_back({{"cause", cause}, {"ps", static_cast<std::int64_t>(time)}});
    report["plans"].push_back(
        {{"change", variant.change},
         {"command", variant.command},
         {"verdict", verdict_name(variant)},
         {"reason", variant.reason.empty() ? Json(nullptr) : Json(variant.reason)},
         {"step_time_ps", timed ? Json(variant.step_time->value()) : Json(nullptr)},
         {"step_time_interval", interval_json(variant.step_time_interval, "ps", 1e12)},
         {"peak_interval", interval_json(variant.peak_interval, "bytes", 1)},
         {"tokens_per_s_per_device", timed ? Json(variant.tokens_per_s_per_device) : Json(nullptr)},
         {"mfu_ratio", timed ? Json(variant.mfu) : Json(nullptr)},
         {"peak_bytes", variant.verdict ? Json(variant.peak.value()) : Json(nullptr)},
         {"time", std::move(causes)}});
  }
  report["sensitivity"] = sensitivity != nullptr ? sensitivity_json(*sensitivity) : Json::array();
  report["measure_next"] = sensitivity != nullptr ? measure_json(*sensitivity) : Json::array();
  return report;
}

std::string what_if_table(const std::vector<Variant>& variants, const Sensitivities* sensitivity) {
  const Variant& base = variants.front();
  std::string text = fmt::format("{:<44}{:>13}{:>12}{:>10}{:>9}{:>12}{:>10}  {}\n", "change",
                                 "verdict", "step", "", "MFU", "peak", "", "most of it");
  for (const Variant& variant : variants) {
    const bool first = &variant == &base;
    text += fmt::format("{:<44}{:>13}", first ? "the plan itself" : printable(variant.change),
                        verdict_name(variant));
    if (!variant.verdict) {
      text += "  " + printable(variant.reason) + "\n";
      continue;
    }
    const bool timed = variant.step_time.has_value();
    const bool compared = !first && timed && base.step_time;
    text +=
        fmt::format("{:>12}{:>10}{:>9}", timed ? human(*variant.step_time) : "-",
                    compared ? relative(seconds(*variant.step_time), seconds(*base.step_time)) : "",
                    timed ? fmt::format("{:.1f} %", 100 * variant.mfu) : "-");
    text += fmt::format("{:>12}{:>10}  {}\n", in_gib(variant.peak),
                        first || !base.verdict ? "" : relative(variant.peak / gib, base.peak / gib),
                        first ? "" : main_cause(base, variant));
  }
  if (base.step_time && base.step_time_interval) {
    const double width = base.step_time_interval->high / seconds(*base.step_time);
    text += fmt::format(
        "80 % of measured steps would lie within {} and {} of a predicted one; "
        "differences between neighbours are known better\n",
        relative(1, width), relative(width, 1));
  }
  if (sensitivity != nullptr) text += "\n" + sensitivity_table(*sensitivity);
  return text;
}

}  // namespace meshsim
