// Plans side by side: a plan and its neighbours, with what each change costs and gains.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/document.hpp"
#include "reports/sensitivity_report.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// One plan of the comparison. A refused one has a reason and no figures.
struct Variant {
  std::string change;  // "" for the plan itself
  std::string command;
  std::string reason;  // why it was refused
  std::optional<Verdict> verdict;
  Bytes peak;
  std::optional<Picoseconds> step_time;
  std::optional<PredictionInterval> step_time_interval;  // seconds
  std::optional<PredictionInterval> peak_interval;       // bytes
  double mfu = 0;
  double tokens_per_s_per_device = 0;
  std::vector<TimePart> parts;
};

// Schema https://meshsim.dev/schema/what-if/1. The first variant is the plan itself. `sensitivity`:
// null if it was not asked for.
Json what_if_json(const ResolvedConfig& config, const std::vector<Variant>& variants,
                  const Sensitivities* sensitivity);
std::string what_if_table(const std::vector<Variant>& variants, const Sensitivities* sensitivity);

}  // namespace meshsim
