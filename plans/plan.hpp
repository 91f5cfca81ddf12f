// A plan: one training job, resolved. What every later stage reads, and the only thing it reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model_specs/inventory.hpp"
#include "model_specs/model_spec.hpp"
#include "model_specs/scan_layout.hpp"
#include "plans/logical_mesh.hpp"
#include "plans/resolved_config.hpp"
#include "plans/sharding.hpp"
#include "plans/software.hpp"
#include "routing/routing_scenario.hpp"
#include "topologies/mesh.hpp"
#include "topologies/slice.hpp"
#include "units/dtype.hpp"

namespace meshsim {

enum class Optimizer { adamw, adam_pax, sgd, muon };

// What a step trains on and in which types.
struct Training {
  std::int64_t sequence_length = 0;  // tokens
  std::int64_t global_batch = 0;     // sequences per step, over all devices and accumulation steps
  std::int64_t gradient_accumulation = 1;
  DType weights = DType::float32;
  DType activations = DType::bfloat16;
  DType first_moment = DType::float32;  // mu
  Optimizer optimizer = Optimizer::adamw;
  bool optimizer_on_host = false;
  bool parameters_on_host = false;
  bool optimizer_over_data = false;  // optimizer state is split over the data axis as well
};

// How tokens reach their experts where one MoE block is run alone.
enum class DispatchVariant { ring_legacy, ring, ragged_a2a };
std::string_view name(DispatchVariant variant);

struct MoeBlock {
  DispatchVariant dispatch = DispatchVariant::ring;
};

struct Plan {
  ResolvedConfig config;
  ModelSpec model;
  Topology topology;
  LogicalMesh mesh;
  MeshAssignment placement;  // of the ICI degrees on one slice
  ShardingRules rules;
  ScanLayout layout;
  std::int64_t scan_axis = 1;
  Training training;
  ExpertAxes expert_axes = ExpertAxes::by_expert;
  RoutingScenario routing;
  Software software;
  std::optional<MoeBlock> moe_block;     // the step is one MoE layer alone
  std::vector<std::string> allowed;      // refusals that the user lifts, met or not
  std::vector<std::string> lifted;       // those of them that the plan met
  std::vector<std::string> assumptions;  // for the report
  // Given by place_plan, never twice: plans with the same number have the same model, machine,
  // mesh, placement, rules and meshsim: block. 0: not known.
  std::int64_t placed = 0;

  std::int64_t devices() const { return topology.devices(); }
  bool hypothetical() const { return !lifted.empty(); }  // MaxText would refuse it
};

// Resolves a request all the way. Throws Error as resolve_config does, and Error(invalid_input) for
// everything that JAX or MaxText would refuse.
Plan make_plan(const PlanRequest& request);

// The model of a request alone: no machine, no mesh, no batch.
struct ModelRequest {
  ResolvedConfig config;
  ModelSpec model;
  std::int64_t sequence_length = 0;
};
ModelRequest make_model_request(const PlanRequest& request);

}  // namespace meshsim
