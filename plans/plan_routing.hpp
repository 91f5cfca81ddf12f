// The routing scenario of a plan: what `--routing`, `--hash-table` and `--token-law` (or the same
// keys of a plan file's meshsim: block) say, with the files that they name read and checked against
// the plan's model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plans/resolved_config.hpp"
#include "routing/routing_scenario.hpp"

namespace meshsim {

// The layers of `model` that have experts, in its order; multi-token-prediction blocks come last.
// Whether each routes by token id.
std::vector<bool> hash_routed(const ModelSpec& model);
// The same layers, by their places among all decoder layers.
std::vector<std::size_t> expert_layers(const ModelSpec& model);

// `expert_ranks`: the plan's degree of expert parallelism. Throws Error(invalid_input) at the key
// if a trace is of another model, number of experts, top-k, ranks, layers or steps; at the place in
// the file if that is malformed. Adds to `assumptions` what the scenario assumes.
RoutingScenario plan_routing(const ResolvedConfig& config, const ModelSpec& model,
                             std::int64_t expert_ranks, std::vector<std::string>& assumptions);

}  // namespace meshsim
