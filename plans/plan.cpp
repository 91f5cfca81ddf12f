#include "plans/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "plans/pipeline.hpp"
#include "plans/plan_routing.hpp"
#include "plans/plan_steps.hpp"
#include "plans/refusals.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::vector<std::int64_t> shape_of(const Node& value) {
  if (value.kind == Node::Kind::scalar) return parse_shape(value.text).value();
  std::vector<std::int64_t> shape;
  for (const Node& item : value.items) shape.push_back(parse_integer(item.text).value());
  return shape;
}

std::int64_t slices_of(const ResolvedConfig& config) {
  for (const char* key : {"compile_topology_num_slices", "num_slices"}) {
    if (config.integer(key) != -1) return config.integer(key);
  }
  return 1;
}

// The named slice; its chips on another torus where slice_shape says so; or the bare shape, of v5p.
Slice slice_of(const ResolvedConfig& config, std::vector<std::string>& assumptions) {
  const std::string named = config.text("compile_topology");
  const auto own = config.own.find("slice_shape");
  if (own == config.own.end()) {
    if (named.empty()) {
      throw config.refusal("compile_topology", "is missing: on which machine?",
                           "compile_topology=v5p-512, or --slice-shape 4x8x8");
    }
    try {
      return slice_by_name(named);
    } catch (const Error& error) {
      const Diagnostic& fault = error.diagnostics().front();
      throw config.refusal("compile_topology", fault.what, fault.hint);
    }
  }
  const std::vector<std::int64_t> shape = shape_of(own->second.value);
  if (named.empty()) {
    assumptions.emplace_back("no compile_topology: slice_shape is of v5p chips");
    return slice_by_shape(find_chip("v5p"), shape);
  }
  const Slice nominal = slice_by_name(named);
  Slice slice = slice_by_shape(*nominal.chip, shape);
  if (slice.chips() != nominal.chips()) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{own->second.value.where, "meshsim.slice_shape",
                           fmt::format("{} has {} chips, but {} has {}", shape_text(shape),
                                       slice.chips(), named, nominal.chips()),
                           fmt::format("the shape of {} is {}", named, shape_text(nominal.shape))});
  }
  slice.name = named;
  return slice;
}

DType dtype_of(const ResolvedConfig& config, const char* key) {
  const Parsed<DType> type = parse_dtype(config.text(key));
  if (!type) throw config.refusal(key, type.why());
  return type.value();
}

// per_device_batch_size x devices x accumulation steps, which must be whole sequences.
std::int64_t global_batch(const ResolvedConfig& config, std::int64_t devices,
                          std::int64_t accumulation) {
  const double per_device = config.real("per_device_batch_size");
  const double micro = per_device * static_cast<double>(devices);
  if (micro < 1 || micro != std::floor(micro)) {
    throw config.refusal(
        "per_device_batch_size",
        fmt::format("{} x {} devices is {} sequences, not a whole number of at least 1", per_device,
                    devices, micro),
        fmt::format("the smallest is 1/{} = {}", devices, 1.0 / static_cast<double>(devices)));
  }
  return checked_multiply(static_cast<std::int64_t>(micro), accumulation, "sequences of a step");
}

Training training_of(const ResolvedConfig& config, std::int64_t devices) {
  Training t;
  t.sequence_length = config.integer("max_target_length");
  t.gradient_accumulation = config.integer("gradient_accumulation_steps");
  t.global_batch = global_batch(config, devices, t.gradient_accumulation);
  t.weights = dtype_of(config, "weight_dtype");
  t.activations = dtype_of(config, "dtype");
  t.first_moment = config.text("mu_dtype").empty() ? t.weights : dtype_of(config, "mu_dtype");
  const std::string optimizer = config.text("opt_type");
  t.optimizer = optimizer == "adam_pax" ? Optimizer::adam_pax
                : optimizer == "sgd"    ? Optimizer::sgd
                : optimizer == "muon"   ? Optimizer::muon
                                        : Optimizer::adamw;
  t.optimizer_on_host = config.boolean("optimizer_memory_host_offload");
  t.parameters_on_host = config.boolean("parameter_memory_host_offload");
  t.optimizer_over_data = config.boolean("shard_optimizer_over_data");
  return t;
}

// Micro-benchmarks state the variant; without one it is what the plan's keys would give.
std::optional<MoeBlock> moe_block_of(const ModelSpec& model, const ResolvedConfig& config) {
  if (!model.config.single_moe_block) return {};
  MoeBlock block;
  if (!config.boolean("use_ring_of_experts")) block.dispatch = DispatchVariant::ragged_a2a;
  const auto own = config.own.find("moe_block");
  if (own == config.own.end()) return block;
  if (const Node* stated = own->second.value.find("dispatch_variant")) {
    for (const DispatchVariant variant :
         {DispatchVariant::ring_legacy, DispatchVariant::ring, DispatchVariant::ragged_a2a}) {
      if (stated->text == name(variant)) block.dispatch = variant;
    }
  }
  return block;
}

ExpertAxes expert_axes_of(const ResolvedConfig& config) {
  if (config.boolean("shard_exp_on_fsdp")) return ExpertAxes::experts_on_fsdp;
  if (config.boolean("use_2d_fsdp_sharding")) return ExpertAxes::fsdp_2d;
  if (config.boolean("use_batch_split_schedule")) return ExpertAxes::batch_split;
  return ExpertAxes::by_expert;
}

// The resolved configuration shows what a -1 came to.
void record_degrees(Plan& plan) {
  for (const MeshAxis& axis : plan.mesh.axes) {
    plan.config.set(degree_key("ici", axis.name), axis.ici);
    plan.config.set(degree_key("dcn", axis.name), axis.dcn);
  }
}

MeshAssignment place(const ResolvedConfig& config, const LogicalMesh& mesh, const Slice& slice) {
  const bool split = config.boolean("allow_split_physical_axes");
  try {
    return assign_mesh(device_mesh_shape(slice), mesh.ici_degrees(), split);
  } catch (const Error& error) {
    // Name the axes, which the placement does not know.
    const Diagnostic& fault = error.diagnostics().front();
    std::string degrees;
    for (const MeshAxis& axis : mesh.axes) {
      if (axis.ici > 1)
        degrees += fmt::format("{}{}={}", degrees.empty() ? "" : ", ", axis.name, axis.ici);
    }
    throw config.refusal("allow_split_physical_axes",
                         fmt::format("the mesh ({}) does not lie on the {} torus: {}", degrees,
                                     shape_text(slice.shape), fault.what),
                         fault.hint);
  }
}

// The scan as MaxText runs it; a what-if may unroll layers that MaxText cannot scan.
ScanLayout layout_of(Plan& plan) {
  const bool scan = plan.config.boolean("scan_layers");
  const bool lifted =
      std::find(plan.allowed.begin(), plan.allowed.end(), "hash-scan") != plan.allowed.end();
  try {
    return scan_layout(plan.model, scan);
  } catch (const Error& error) {
    const Diagnostic& fault = error.diagnostics().front();
    if (!plan.model.is_deepseek4())
      throw plan.config.refusal("scan_layers", fault.what, fault.hint);
    if (!lifted)
      throw plan.config.refusal("scan_layers", fault.what + " [hash-scan]",
                                fault.hint + ", or --allow hash-scan for a what-if");
    plan.lifted.emplace_back("hash-scan");
    plan.assumptions.emplace_back(
        "hypothetical (hash-scan): the layers are unrolled, i.e. not rematted");
    return scan_layout(plan.model, false);
  }
}

}  // namespace

std::string_view name(DispatchVariant variant) {
  switch (variant) {
    case DispatchVariant::ring_legacy: return "ring_legacy";
    case DispatchVariant::ring: return "ring";
    case DispatchVariant::ragged_a2a: return "ragged_a2a";
  }
  return "";
}

ModelRequest make_model_request(const PlanRequest& request) {
  ModelRequest result;
  result.config = resolve_config(request);
  result.model = make_model_spec(result.config.model);
  result.sequence_length = result.config.integer("max_target_length");
  return result;
}

void place_plan(Plan& plan) {
  plan.topology = make_topology(slice_of(plan.config, plan.assumptions), slices_of(plan.config));
  plan.mesh = resolve_mesh(plan.config, plan.topology.slices, plan.topology.slice.devices());
  record_degrees(plan);
  plan.placement = place(plan.config, plan.mesh, plan.topology.slice);
  plan.rules = ShardingRules(plan.config, plan.mesh);
  static std::atomic<std::int64_t> placed{0};
  plan.placed = ++placed;
}

void finish_plan(Plan& plan) {
  plan.scan_axis = plan.config.integer("param_scan_axis");
  plan.training = training_of(plan.config, plan.devices());
  plan.expert_axes = expert_axes_of(plan.config);
  plan.moe_block = moe_block_of(plan.model, plan.config);
  if (const auto allow = plan.config.own.find("allow"); allow != plan.config.own.end()) {
    for (const Node& id : allow->second.value.items) plan.allowed.push_back(id.text);
  }
  refuse_what_maxtext_refuses(plan);
  plan.routing = plan_routing(plan.config, plan.model, plan.mesh.size("expert"), plan.assumptions);
  plan.software = software_of(plan.config);
  plan.layout = pipelined_layout(plan, layout_of(plan));
  for (std::string& text : assumptions(plan.topology)) plan.assumptions.push_back(std::move(text));
}

Plan make_plan(const PlanRequest& request) {
  Plan plan;
  plan.config = resolve_config(request);
  plan.model = make_model_spec(plan.config.model);
  place_plan(plan);
  finish_plan(plan);
  return plan;
}

}  // namespace meshsim
