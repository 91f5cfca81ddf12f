// Measured public runs: files of schema published-runs/1.
//
//   {"schema": "published-runs/1", "rows": [{"id", "model", "chip", "kind", "family", "quality",
//     "plan": {MaxText key: value, ..., "slice_shape": [..]}, "software": {feature: value},
//     "measured": {figure: value}, "block": {..}, "ablation": label}, ...]}
//
// A row becomes the request that its keys would be on a command line. Nothing of a row reaches the
// plan by another way; its id, family, quality, ablation and notes only label the comparison.
//
//   plan      key=value each; slice_shape is --slice-shape
//   software  --software feature=value; null and features that only name the source (flag_groups,
//             xla_flags) are left out: unknown is not false
//   model     model_name=; a row of kind moe_block is instead made of its block:
//   block     hidden, mlp, experts, topk, capacity_factor, tokens_per_device, ep_size and dp_size
//             as MaxText keys; dispatch_variant and shared_expert_mlp_dim as --moe-block
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "inputs/node.hpp"
#include "inputs/source.hpp"
#include "plans/resolved_config.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// What was measured; absent where it was not published.
struct Measured {
  std::optional<double> step_time_s;
  std::optional<double> arguments_gib, temp_gib;
  std::optional<double> total_gib;  // XLA's argument + output + temp - alias
  std::optional<double> oom_needed_gib;
  std::optional<bool> oom_at_compile;
};

struct PublishedRun {
  std::string id, model, chip, kind, family, quality;
  std::string ablation;  // "" or a label that rows share which differ in a few settings only
  std::vector<std::string> inferred;  // what the source does not state
  PlanRequest request;
  std::string not_modelled;  // why no request can be made of the row; empty: one can
  Measured measured;
};

struct PublishedRuns {
  std::string name;  // of the file
  std::string text;  // its bytes
  std::vector<PublishedRun> runs;
};

// The runs that come with meshsim.
Source published_runs_file();

// Throws Error(invalid_input) with every fault of the file.
PublishedRuns parse_published_runs(const Source& file);

}  // namespace meshsim
