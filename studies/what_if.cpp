#include "studies/what_if.hpp"

#include <fmt/format.h>

#include "studies/neighbours.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Commas inside brackets belong to a value: compress_ratios=[0,4],[4,4].
std::vector<std::string> split_values(const std::string& text) {
  std::vector<std::string> values(1);
  int depth = 0;
  for (const char c : text) {
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (c == ',' && depth == 0) {
      values.emplace_back();
    } else {
      values.back() += c;
    }
  }
  return values;
}

std::vector<Change> changes_of(const std::vector<std::string>& vary) {
  std::vector<Change> changes;
  for (const std::string& one : vary) {
    const std::size_t equals = one.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == one.size()) {
      throw Error(
          ErrorKind::invalid_input,
          Diagnostic{{"<command line> --vary"}, {}, fmt::format("'{}' is not key=a,b,c", one), {}});
    }
    for (const std::string& value : split_values(one.substr(equals + 1)))
      changes.push_back({{one.substr(0, equals), value}});
  }
  return changes;
}

Variant evaluated(const PlanRequest& request, std::string change, Fidelity fidelity) {
  Variant variant;
  variant.change = std::move(change);
  variant.command = command_of(request, "simulate");
  const Plan plan = make_plan(request);
  const Evaluation evaluation = evaluate(plan, fidelity);
  variant.verdict = evaluation.verdict();
  variant.peak = evaluation.peak();
  variant.step_time_interval = evaluation.step_time_interval();
  variant.peak_interval = evaluation.peak_interval();
  if (evaluation.step) {
    variant.step_time = evaluation.step->timeline.total;
    variant.mfu = evaluation.step->mfu;
    variant.tokens_per_s_per_device = evaluation.step->tokens_per_s_per_device;
    variant.parts = evaluation.step->timeline.parts;
  }
  return variant;
}

}  // namespace

std::vector<Variant> what_if(const PlanRequest& request, const std::vector<std::string>& vary,
                             Fidelity fidelity) {
  const std::vector<Change> changes = changes_of(vary);
  std::vector<Variant> variants{evaluated(request, "", fidelity)};
  for (const Change& change : changes) {
    const PlanRequest other = changed(request, change);
    try {
      variants.push_back(evaluated(other, change_text(change), fidelity));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid_input) throw;
      Variant refused;
      refused.change = change_text(change);
      refused.command = command_of(other, "simulate");
      const Diagnostic& fault = error.diagnostics().front();
      refused.reason = fault.key.empty() ? fault.what : fault.key + ": " + fault.what;
      variants.push_back(std::move(refused));
    }
  }
  return variants;
}

}  // namespace meshsim
