#include "reports/accuracy_page.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

constexpr double shown_as_miss = 0.05;  // of the step time: the cause is asked for from here on

std::string percent(std::optional<double> ratio) {
  return ratio ? fmt::format("{:+.1f} %", 100 * *ratio) : "-";
}

std::string figure(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}g}", *value, digits) : "-";
}

const CalibrationResidual* residual_of(const std::vector<CalibrationResidual>& residuals,
                                       const std::string& id) {
  for (const CalibrationResidual& one : residuals) {
    if (one.id == id) return &one;
  }
  return nullptr;
}

std::string statistics_row(const std::string& label, const ErrorStatistics& errors) {
  if (errors.rows == 0) return fmt::format("| {} | 0 | - | - | - | - |\n", label);
  return fmt::format("| {} | {} | {:.1f} % | {:.1f} % | {} | {} ({}) |\n", label, errors.rows,
                     100 * errors.mean_abs, 100 * errors.median_abs, percent(errors.bias),
                     percent(errors.worst_error), errors.worst);
}

// Residuals of the rows of one kind and quality.
ErrorStatistics left_out(const Validation& all, const Calibration& calibration,
                         double CalibrationResidual::*error, const std::string& group) {
  std::vector<std::pair<std::string, double>> errors;
  for (const ValidationRow& row : all.rows) {
    const CalibrationResidual* residual = residual_of(calibration.step_time, row.id);
    if (residual != nullptr && kind_and_quality(row.kind, row.quality) == group)
      errors.emplace_back(row.id, residual->*error);
  }
  return statistics_of(errors);
}

std::string summary(const Validation& all, const Calibration& calibration) {
  std::string text =
      "| step times | rows | mean error | median | bias | worst |\n|---|---|---|---|---|---|\n";
  for (const ValidationGroup& group : all.groups) {
    if (group.step_time.rows > 0)
      text += statistics_row(group.by + " " + group.name, group.step_time);
  }
  text += statistics_row("all", all.step_time);
  for (const ValidationGroup& group : all.groups) {
    if (group.by != "quality" || group.step_time.rows == 0) continue;
    text += statistics_row(group.name + ", its family left out of the fit",
                           left_out(all, calibration, &CalibrationResidual::left_out, group.name));
    text += statistics_row(
        group.name + ", its model left out of the fit",
        left_out(all, calibration, &CalibrationResidual::model_left_out, group.name));
  }
  return text + "\n";
}

std::string rows(const Validation& all, const Calibration& calibration) {
  std::string text =
      "| row | model | chip | family | quality | measured s | predicted s | error | family left "
      "out "
      "|\n|---|---|---|---|---|---|---|---|---|\n";
  for (const ValidationRow& row : all.rows) {
    if (!row.step_time_s.measured) continue;
    const CalibrationResidual* residual = residual_of(calibration.step_time, row.id);
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", row.id, row.model,
                        row.chip, row.family, row.quality, figure(row.step_time_s.measured, 5),
                        row.step_time_s.predicted ? figure(row.step_time_s.predicted, 5)
                                                  : std::string(name(row.status)),
                        percent(row.step_time_s.error()),
                        residual == nullptr ? "-" : percent(residual->left_out));
  }
  return text + "\n";
}

// One line for each row; a column is 1 %.
std::string scatter(const Validation& all) {
  constexpr int reach = 30;
  std::string text =
      fmt::format("```text\n{:<10}{:<{}}0 %{:>{}}\n", "", "-30 %", reach - 1, "+30 %", reach - 1);
  for (const ValidationRow& row : all.rows) {
    const std::optional<double> error = row.step_time_s.error();
    if (!error) continue;
    std::string line(2 * reach + 1, '.');
    line[reach] = '|';
    const auto at = static_cast<int>(std::lround(100 * *error));
    const bool beyond = std::abs(at) > reach;
    const int column = std::clamp(at, -reach, reach) + reach;
    line[static_cast<std::size_t>(column)] = !beyond ? '*' : at < 0 ? '<' : '>';
    text += fmt::format("{:<10}{}\n", row.id, line);
  }
  return text + "```\n\n";
}

std::string memory(const Validation& all) {
  std::string text =
      "| row | model | arguments GiB | measured | total GiB | measured | error | ran | predicted "
      "|\n|---|---|---|---|---|---|---|---|---|\n";
  const auto outcome = [](std::optional<bool> oom) {
    return !oom ? "-" : *oom ? "out of memory" : "fits";
  };
  for (const ValidationRow& row : all.rows) {
    if (!row.total_gib.measured && !row.oom_measured) continue;
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {}{} |\n", row.id, row.model,
                        figure(row.arguments_gib.predicted, 4),
                        figure(row.arguments_gib.measured, 4), figure(row.total_gib.predicted, 4),
                        figure(row.total_gib.measured, 4), percent(row.total_gib.error()),
                        outcome(row.oom_measured), outcome(row.oom_predicted),
                        row.status == RowStatus::inconclusive ? ", inconclusive" : "");
  }
  text += "\n| memory | rows | mean error | median | bias | worst |\n|---|---|---|---|---|---|\n" +
          statistics_row("arguments", all.arguments) +
          statistics_row("arguments + output + temp - alias", all.total);
  return text + fmt::format("\nOut of memory or not: {} of {} right, {} inconclusive.\n\n",
                            all.oom_right, all.oom_rows, all.oom_inconclusive);
}

std::string constants(const Calibration& calibration) {
  std::string text =
      "| constant | chip | unit | value | 80 % interval | prior | rows | source |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const CalibrationConstant& one : calibration.constants) {
    text += fmt::format(
        "| {} | {} | {} | {:.3g} | {:.3g} to {:.3g} | {} | {} | {} |\n", one.name, one.chip,
        one.unit, one.value, one.low, one.high,
        one.prior ? fmt::format("{:.3g}, {:.0f} %", one.prior->value, 100 * one.prior->log_sigma)
                  : "not fitted",
        one.fitted_rows.size(), one.source);
  }
  return text + "\n";
}

std::string covered(const char* label, const std::optional<Coverage>& coverage) {
  if (!coverage) return fmt::format("| {} | 0 | - |\n", label);
  return fmt::format("| {} | {} | {:.0f} % +- {:.0f} % |\n", label, coverage->rows,
                     100 * coverage->ratio, 100 * coverage->standard_error);
}

std::string coverage(const Validation& all) {
  return "| measured within the 80 % interval | rows | share |\n|---|---|---|\n" +
         covered("step times", all.step_time_inside) + covered("memory", all.total_inside) +
         covered("step times, each family by the others", all.step_time_cross_validated) +
         covered("memory, each family by the others", all.peak_cross_validated) + "\n";
}

std::string misses(const Validation& all, const std::map<std::string, std::string>& causes) {
  std::string text;
  for (const ValidationRow& row : all.rows) {
    const std::optional<double> time = row.step_time_s.error();
    const std::optional<double> space = row.total_gib.error();
    const bool slow = time && std::abs(*time) > shown_as_miss;
    const bool large = space && std::abs(*space) > shown_as_miss;
    const bool wrong =
        row.oom_measured && row.oom_predicted.value_or(*row.oom_measured) != *row.oom_measured;
    const bool silent = !row.step_time_s.predicted && !row.reason.empty();
    std::vector<std::string> what;
    if (slow) what.push_back("step time " + percent(time));
    if (large) what.push_back("memory " + percent(space));
    if (wrong) what.emplace_back(*row.oom_measured ? "it ran out of memory" : "it did fit");
    if (silent) what.push_back(row.reason);
    if (what.empty()) continue;
    text += fmt::format("- {} ({}): {}", row.id, row.model, fmt::join(what, ", "));
    const auto cause = causes.find(row.id);
    text += ". " +
            (cause == causes.end() ? std::string(silent ? "" : "The cause is not known.")
                                   : cause->second) +
            "\n";
  }
  for (const AblationOrder& one : all.ablations) {
    for (const std::string& pair : one.out_of_order) {
      const auto cause = causes.find(one.name);
      text += fmt::format("- {}: {}. {}\n", one.name, pair,
                          cause == causes.end() ? "The cause is not known." : cause->second);
    }
  }
  return text + "\n";
}

}  // namespace

std::string accuracy_page(const Validation& validation, const Calibration& calibration,
                          const std::map<std::string, std::string>& causes) {
  std::string text =
      "# Predicted against measured\n\n"
      "`meshsim validate --page` writes this page. Every row is a published run, predicted by the\n"
      "ordinary path from its keys; error is predicted / measured - 1. Quality \"exact\" means "
      "that\n"
      "the configuration was published completely, \"inferred\" that something of it was "
      "completed\n"
      "by reasoning. Rows were also predicted with constants that were fitted without their "
      "family\n"
      "or without their model: these errors are what a run that meshsim has not seen may expect,\n"
      "and the 80 % intervals of all reports are made of them.\n\n";
  text += "## Step times\n\n" + summary(validation, calibration) + rows(validation, calibration);
  text += "The errors as a picture; a column is 1 %:\n\n" + scatter(validation);
  text +=
      "### Order within an ablation\n\n| ablation | pairs that differ by more than 3 % | in "
      "order |\n|---|---|---|\n";
  for (const AblationOrder& one : validation.ablations)
    text += fmt::format("| {} | {} | {} |\n", one.name, one.pairs, one.pairs_in_order);
  text += "\n## Memory\n\n" + memory(validation);
  text += "## Intervals\n\n" + coverage(validation);
  text +=
      "## The constants\n\nA prior is a value and a standard deviation of its logarithm. `rows` "
      "counts the runs that\nmove the constant; one that none moves has kept its prior.\n\n" +
      constants(calibration);
  text += fmt::format(
      "## Where it fails\n\nRows that miss by more than {:.0f} % or whose outcome is wrong, rows "
      "that "
      "cannot be\npredicted, and pairs of an ablation in the wrong order:\n\n",
      100 * shown_as_miss);
  text += misses(validation, causes);
  text += "## What is not modelled\n\nAs the reports of these rows say it:\n\n";
  for (const std::string& item : validation.not_modelled) text += "- " + item + "\n";
  return text;
}

}  // namespace meshsim
