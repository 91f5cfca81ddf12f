#include "reports/explain_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "units/print.hpp"

namespace meshsim {
namespace {

Json change_json(const Improvement& one) {
  return {{"change", one.change},
          {"command", one.command},
          {"step_time_ps", one.step_time.value()},
          {"tokens_per_s_per_device", one.tokens_per_s_per_device},
          {"gain_ratio", one.gain},
          {"peak_bytes", one.peak.value()},
          {"changes_training", one.changes_training}};
}

double share(Picoseconds part, Picoseconds total) { return total.value() == 0 ? 0 : part / total; }

std::string milliseconds(Picoseconds time) {
  return fmt::format("{:.2f}", static_cast<double>(time.value()) / 1e9);
}

std::string percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

// Groups with their details, each with its share of the step.
std::string cause_table(const std::vector<Attribution>& causes, Picoseconds total) {
  std::string text = fmt::format("{:<34}{:>12}{:>9}\n", "where the step goes", "ms", "");
  const auto line = [&](const std::string& label, Picoseconds time) {
    text +=
        fmt::format("{:<34}{:>12}{:>9}\n", label, milliseconds(time), percent(share(time, total)));
  };
  for (auto first = causes.begin(); first != causes.end();) {
    const auto last = std::find_if(
        first, causes.end(), [&](const Attribution& one) { return one.group != first->group; });
    Picoseconds sum;
    for (auto one = first; one != last; ++one) sum += one->time;
    line(first->group, sum);
    const bool has_details = last - first > 1 || first->group.starts_with("exposed_");
    for (; first != last; ++first) {
      if (has_details) line("    " + first->detail, first->time);
    }
  }
  line("step", total);
  return text;
}

std::string path_table(const std::vector<PathOperation>& path, Picoseconds total) {
  constexpr std::size_t shown = 20;
  std::string text =
      fmt::format("{:<26}{:<20}{:<11}{:<13}{:>7}{:>12}{:>9}{:>12}\n", "critical path", "layer",
                  "pass", "bound by", "count", "ms", "", "slowed by");
  Picoseconds rest;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const PathOperation& one = path[i];
    if (i >= shown) {
      rest += one.time;
      continue;
    }
    text +=
        fmt::format("{:<26}{:<20}{:<11}{:<13}{:>7}{:>12}{:>9}{:>12}\n", one.name, one.layer_kind,
                    name(one.pass), one.bound, one.count, milliseconds(one.time),
                    percent(share(one.time, total)), milliseconds(one.slowed));
  }
  if (path.size() > shown) {
    text += fmt::format("{:<77}{:>12}{:>9}\n",
                        fmt::format("{} others (-o json has all)", path.size() - shown),
                        milliseconds(rest), percent(share(rest, total)));
  }
  return text + fmt::format("{:<77}{:>12}{:>9}\n", "step", milliseconds(total), percent(1));
}

std::string change_lines(const Improvements& all) {
  std::string text = fmt::format(
      "tried {} changes: {} faster, {} not, {} would not fit, {} refused, {} not modelled; the "
      "best of each kind:\n",
      all.tried, all.faster, all.not_faster, all.too_large, all.refused, all.not_modelled);
  if (all.best.empty()) return text + "NO CHANGE THAT WAS TRIED IS FASTER AND FITS\n";
  for (const Improvement& one : all.best) {
    text += fmt::format("{:+.1f} % tokens/s: {} (step {}, {}{})\n  {}\n", 100 * one.gain,
                        printable(one.change), human(one.step_time), in_gib(one.peak),
                        one.changes_training ? ", another batch: the run learns differently" : "",
                        printable(one.command));
  }
  return text;
}

}  // namespace

Json explain_json(const Evaluation& evaluation, const Explanation& explanation) {
  const Step& step = *evaluation.step;
  const Picoseconds total = step.timeline.total;
  Json report = report_head("explain");
  report["provenance"] = provenance(evaluation.plan->config);
  report["fidelity"] = name(evaluation.fidelity);
  report["verdict"] = name(evaluation.verdict());
  report["step_time_ps"] = total.value();
  report["tokens_per_s_per_device"] = step.tokens_per_s_per_device;
  report["mfu_ratio"] = step.mfu;
  report["causes"] = Json::array();
  for (const Attribution& one : explanation.causes) {
    report["causes"].push_back({{"group", one.group},
                                {"detail", one.detail},
                                {"ps", one.time.value()},
                                {"share_ratio", share(one.time, total)}});
  }
  report["critical_path"] = Json::array();
  for (const PathOperation& one : explanation.path) {
    report["critical_path"].push_back({{"op", one.name},
                                       {"layer_kind", one.layer_kind},
                                       {"pass", name(one.pass)},
                                       {"bound", one.bound},
                                       {"count", one.count},
                                       {"ps", one.time.value()},
                                       {"slowed_ps", one.slowed.value()},
                                       {"share_ratio", share(one.time, total)}});
  }
  const Improvements& improvements = explanation.improvements;
  report["changes"] = Json::array();
  for (const Improvement& one : improvements.best) report["changes"].push_back(change_json(one));
  report["tried"] = {
      {"plans", improvements.tried},           {"faster", improvements.faster},
      {"not_faster", improvements.not_faster}, {"too_large", improvements.too_large},
      {"refused", improvements.refused},       {"not_modelled", improvements.not_modelled}};
  report["assumptions"] = evaluation.assumptions;
  report["not_modelled"] = evaluation.not_modelled;
  return report;
}

std::string explain_table(const Evaluation& evaluation, const Explanation& explanation) {
  const Picoseconds total = evaluation.step->timeline.total;
  return fmt::format("{}: step {} ({}), {:.1f} tokens/s/device, MFU {:.1f} %\n\n",
                     printable(evaluation.plan->model.name), human(total),
                     name(evaluation.fidelity), evaluation.step->tokens_per_s_per_device,
                     100 * evaluation.step->mfu) +
         cause_table(explanation.causes, total) + "\n" + path_table(explanation.path, total) +
         "\n" + change_lines(explanation.improvements);
}

}  // namespace meshsim
