#include "studies/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <span>

#include "inputs/embedded.hpp"
#include "inputs/yaml.hpp"
#include "studies/neighbours.hpp"
#include "topologies/chip.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_studies();

namespace {

using Rows = std::vector<const ValidationRow*>;

double in_gib_of(Bytes bytes) { return bytes / gib; }

void refuse(ValidationRow& row, const Error& error) {
  const Diagnostic& fault = error.diagnostics().front();
  row.status = RowStatus::refused;
  row.reason = fault.key.empty() ? fault.what : fault.key + ": " + fault.what;
}

void add_memory(const Evaluation& evaluation, const Measured& measured, ValidationRow& row) {
  const TrainingState& state = evaluation.state;
  row.arguments_gib = {in_gib_of(state.arguments()), measured.arguments_gib};
  row.temp_gib.measured = measured.temp_gib;
  // What a compiler says that it needed is the same sum as what it says that it uses.
  row.total_gib.measured = measured.total_gib ? measured.total_gib : measured.oom_needed_gib;
  row.oom_measured = measured.oom_at_compile;
  if (!evaluation.step) return;
  row.temp_gib.predicted = in_gib_of(evaluation.xla_temp());
  row.total_gib.predicted = in_gib_of(evaluation.xla_total());
  row.peak_bytes = evaluation.peak().value();
  if (const auto band =
          interval_around(*row.total_gib.predicted, evaluation.plan->config.calibration->peak)) {
    row.total_low_gib = band->low;
    row.total_high_gib = band->high;
  }
  if (evaluation.within_margin()) row.status = RowStatus::inconclusive;
  row.oom_predicted = evaluation.peak() > evaluation.hbm_usable();
}

// The request of a row, priced by the calibration at `path` ("": the built-in one).
PlanRequest priced_by(PlanRequest request, const std::string& path) {
  if (path.empty()) return request;
  Node stated;
  stated.kind = Node::Kind::scalar;
  stated.text = path;
  stated.where = {"<command line> --calibration"};
  request.own["calibration"] = std::move(stated);
  return request;
}

ValidationRow row_of(const PublishedRun& run, Fidelity fidelity, const std::string& calibration,
                     std::set<std::string>& not_modelled) {
  ValidationRow row;
  row.id = run.id;
  row.family = run.family;
  row.kind = run.kind;
  row.model = run.model;
  row.chip = run.chip;
  row.quality = run.quality;
  row.ablation = run.ablation;
  row.step_time_s.measured = run.measured.step_time_s;
  row.oom_measured = run.measured.oom_at_compile;
  if (!run.not_modelled.empty()) {
    row.status = RowStatus::not_modelled;
    row.reason = run.not_modelled;
    not_modelled.insert(row.reason);
    return row;
  }
  const PlanRequest request = priced_by(run.request, calibration);
  row.command = command_of(request, "simulate");
  try {
    const Plan plan = make_plan(request);
    const std::string& chip = plan.topology.slice.chip->name;
    if (find_chip(run.chip).name != chip) {
      throw Error(
          ErrorKind::invalid_input,
          Diagnostic{
              {}, "chip", fmt::format("is {}, but the plan runs on {}", run.chip, chip), {}});
    }
    const Evaluation evaluation = evaluate(plan, fidelity);
    add_memory(evaluation, run.measured, row);
    not_modelled.insert(evaluation.not_modelled.begin(), evaluation.not_modelled.end());
    if (evaluation.step) {
      row.step_time_s.predicted = seconds(evaluation.step->timeline.total);
      if (const auto band = evaluation.step_time_interval()) {
        row.interval_low_s = band->low;
        row.interval_high_s = band->high;
      }
    } else {
      row.status = RowStatus::not_modelled;
      row.reason = evaluation.not_modelled.front();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid_input) throw;
    refuse(row, error);
  }
  return row;
}

// A row that only was compiled has no step time.
Rows with_step_time(const Rows& rows) {
  Rows timed;
  for (const ValidationRow* row : rows) {
    if (row->step_time_s.error()) timed.push_back(row);
  }
  return timed;
}

// Groups in the order of the rows; rows without the label are in none.
template <class Label>
std::vector<std::pair<std::string, Rows>> grouped_by(const Rows& rows, const Label& label) {
  std::vector<std::pair<std::string, Rows>> groups;
  for (const ValidationRow* row : rows) {
    const std::string name = std::invoke(label, *row);
    if (name.empty()) continue;
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& group) { return group.first == name; });
    if (found == groups.end()) found = groups.insert(groups.end(), {name, {}});
    found->second.push_back(row);
  }
  return groups;
}

AblationOrder order_of(const std::string& name, const Rows& rows) {
  AblationOrder order;
  order.name = name;
  order.step_time = statistics_of(rows, &ValidationRow::step_time_s);
  const Rows timed = with_step_time(rows);
  order.rows = static_cast<std::int64_t>(timed.size());
  for (const ValidationRow* slow : timed) {
    for (const ValidationRow* fast : timed) {
      if (*slow->step_time_s.measured <= *fast->step_time_s.measured * (1 + ablation_margin))
        continue;
      ++order.pairs;
      if (*slow->step_time_s.predicted > *fast->step_time_s.predicted) {
        ++order.pairs_in_order;
      } else {
        order.out_of_order.push_back(
            fmt::format("{} was measured slower than {}", slow->id, fast->id));
      }
    }
  }
  return order;
}

// The share of the rows whose measured figure lies in its interval.
std::optional<Coverage> inside(const Rows& rows, Compared ValidationRow::*compared,
                               std::optional<double> ValidationRow::*low,
                               std::optional<double> ValidationRow::*high) {
  std::size_t n = 0;
  std::size_t hits = 0;
  for (const ValidationRow* row : rows) {
    const std::optional<double> measured = (row->*compared).measured;
    if (!measured || !(row->*low)) continue;
    ++n;
    hits += *(row->*low) <= *measured && *measured <= *(row->*high) ? 1U : 0U;
  }
  if (n == 0) return {};
  return coverage_of(hits, n);
}

void summarise(Validation& all) {
  Rows rows;
  for (const ValidationRow& row : all.rows) rows.push_back(&row);
  all.step_time = statistics_of(rows, &ValidationRow::step_time_s);
  all.arguments = statistics_of(rows, &ValidationRow::arguments_gib);
  all.total = statistics_of(rows, &ValidationRow::total_gib);
  all.step_time_inside = inside(rows, &ValidationRow::step_time_s, &ValidationRow::interval_low_s,
                                &ValidationRow::interval_high_s);
  all.total_inside = inside(rows, &ValidationRow::total_gib, &ValidationRow::total_low_gib,
                            &ValidationRow::total_high_gib);
  const auto summarise_by = [&](const char* by, const auto& label) {
    for (const auto& [name, group] : grouped_by(rows, label))
      all.groups.push_back({by, name, statistics_of(group, &ValidationRow::step_time_s)});
  };
  summarise_by("family", &ValidationRow::family);
  summarise_by("kind", &ValidationRow::kind);
  summarise_by("quality", [](const ValidationRow& row) {
    return row.quality.empty() ? row.quality : kind_and_quality(row.kind, row.quality);
  });
  for (const auto& [name, group] : grouped_by(rows, &ValidationRow::ablation)) {
    if (group.size() > 1) all.ablations.push_back(order_of(name, group));
  }
  for (const ValidationRow& row : all.rows) {
    if (!row.oom_measured || !row.oom_predicted) continue;
    ++all.oom_rows;
    if (*row.oom_measured == *row.oom_predicted) {
      ++all.oom_right;
    } else if (row.status == RowStatus::inconclusive) {
      ++all.oom_inconclusive;
    }
  }
}

}  // namespace

ErrorStatistics statistics_of(const std::vector<const ValidationRow*>& rows,
                              Compared ValidationRow::*compared) {
  std::vector<std::pair<std::string, double>> errors;
  for (const ValidationRow* row : rows) {
    if (const auto error = (row->*compared).error()) errors.emplace_back(row->id, *error);
  }
  return statistics_of(errors);
}

std::map<std::string, std::string> known_causes() {
  std::map<std::string, std::string> causes;
  for (const EmbeddedFile& file : embedded_studies()) {
    if (!file.path.ends_with("causes.yml")) continue;
    const Node root = parse_yaml({std::string(file.path), std::string(file.text)});
    for (const Member& row : root.members) causes.emplace(row.key, row.value.text);
  }
  return causes;
}

Validation validate(const PublishedRuns& runs, Fidelity fidelity, const std::string& calibration) {
  Validation all;
  // A file that is none is refused once, not by every row.
  const Calibration stated =
      calibration.empty() ? *builtin_calibration() : parse_calibration(read_source(calibration));
  all.calibration_text = stated.file.text;
  all.step_time_cross_validated = cross_validated(stated.step_time);
  all.peak_cross_validated = cross_validated(stated.peak);
  all.runs_name = runs.name;
  all.runs_text = runs.text;
  all.fidelity = name(fidelity);
  std::set<std::string> missing;
  for (const PublishedRun& run : runs.runs) {
    all.rows.push_back(row_of(run, fidelity, calibration, missing));
  }
  all.not_modelled.assign(missing.begin(), missing.end());
  summarise(all);
  return all;
}

}  // namespace meshsim
