// Which plans no program can be made of yet, and why.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "plans/pipeline.hpp"
#include "program/batch_split.hpp"
#include "program/context_parallel.hpp"
#include "program/layer_builder.hpp"
#include "program/lower.hpp"
#include "program/moe_block.hpp"
#include "program/remat_policy.hpp"

namespace meshsim {
namespace {

// Whether one head's keys serve all queries in every layer.
bool shares_keys(const Plan& plan) {
  return std::all_of(plan.model.kinds.begin(), plan.model.kinds.end(), [](const LayerKind& kind) {
    return kind.attention && std::holds_alternative<CompressedAttention>(kind.attention->form);
  });
}

// Why the tensor axes of `plan` are not lowered, or nothing.
std::optional<std::string> not_split(const Plan& plan) {
  const ActivationAxes axes = activation_axes(plan);
  const std::int64_t ways = shards(plan.mesh, axes.within);
  for (const char* logical : {"heads", "q_heads", "kv_heads", "mlp", "mlp_moe", "vocab"}) {
    const std::vector<std::string> one{logical};
    std::vector<std::string> split = plan.rules.resolve(one).front();
    std::erase(split, "fsdp_transpose");  // gathered
    // Keys that all heads share are whole on every device.
    if (std::string_view(logical) == "kv_heads" && split.empty() && shares_keys(plan)) continue;
    if (split != axes.within)
      return fmt::format("logical_axis_rules that split {} over other axes than the streams",
                         logical);
  }
  if (ways == 1) return {};
  if (plan.model.has_experts() && !axes.rows.empty())
    return "mixtures of experts with a tensor_sequence degree";
  if (plan.model.has_experts() && experts_are_gathered(plan))
    return "the dense path of experts without capacity with a tensor degree";
  for (const LayerKind& kind : plan.model.kinds) {
    const auto* compressed =
        kind.attention ? std::get_if<CompressedAttention>(&kind.attention->form) : nullptr;
    if (compressed != nullptr && compressed->o_groups % ways != 0)
      return "a tensor degree that does not divide the groups of the output projection";
  }
  if (layer_batch(plan).tokens() % shards(plan.mesh, axes.rows) != 0)
    return "a tensor_sequence degree that does not divide a device's tokens";
  return {};
}

// Why the parts of sequences are not lowered, or nothing.
std::optional<std::string> not_in_parts(const Plan& plan) {
  const ContextSplit split = context_split(plan);
  if (split.devices() == 1) return {};
  const std::int64_t length = layer_batch(plan).length;
  for (const LayerKind& kind : plan.model.kinds) {
    if (!kind.attention) continue;
    const auto* compressed = std::get_if<CompressedAttention>(&kind.attention->form);
    if (compressed != nullptr && compressed->ratio > 0 && length % compressed->ratio != 0)
      return "a context degree that splits the windows of compressed attention";
  }
  return {};
}

// Whether layers outside of the pipeline, or prediction blocks, have experts.
bool routes_outside(const Plan& plan) {
  const auto routed = [&](const LayerKind& kind) {
    return std::holds_alternative<MoeMlp>(kind.mlp);
  };
  if (plan.model.mtp_layers > 0 && routed(plan.model.mtp_kind())) return true;
  return std::any_of(
      plan.layout.segments.begin(), plan.layout.segments.end(), [&](const Segment& segment) {
        return !is_pipelined(plan, segment) && routed(plan.model.layer(segment.first));
      });
}

// Why the pipeline of `plan` is not lowered, or nothing.
std::optional<std::string> not_piped(const Plan& plan) {
  const PipelineSchedule schedule = pipeline_schedule(plan);
  if (schedule.stages == 1) return {};
  if (!plan.config.boolean("scan_layers")) return "a pipeline of layers that are not scanned";
  if (!plan.routing.balanced() && routes_outside(plan))
    return "unbalanced routing of layers outside of a pipeline";
  if (weights_ahead(plan) > 0 && plan.expert_axes == ExpertAxes::fsdp_2d &&
      plan.mesh.size("expert") > 1)
    return "two-dimensional FSDP of experts that a pipeline gathers ahead of its iterations";
  return {};
}

}  // namespace

std::optional<std::string> not_lowered(const Plan& plan) {
  const std::set<std::string> lowered{"data",           "fsdp",
                                      "fsdp_transpose", "expert",
                                      "tensor",         "tensor_sequence",
                                      "context",        "context_usp_ulysses",
                                      "stage"};
  for (const MeshAxis& axis : plan.mesh.axes) {
    if (axis.size() > 1 && !lowered.contains(axis.name))
      return fmt::format("the step time of plans with a {} degree", axis.name);
  }
  if (std::optional<std::string> axes = not_split(plan)) return axes;
  if (std::optional<std::string> parts = not_in_parts(plan)) return parts;
  if (std::optional<std::string> pipe = not_piped(plan)) return pipe;
  if (std::optional<std::string> split = batch_split_not_lowered(plan)) return split;
  if (plan.moe_block) return moe_block_not_lowered(plan);
  if (std::optional<std::string> policy = not_rematted(plan)) return policy;
  const ResolvedConfig& config = plan.config;
  if (!number_format(plan)) return fmt::format("training in {}", config.text("quantization"));
  if (plan.model.has_experts() && !config.boolean("sparse_matmul")) {
    if (config.real("capacity_factor") > 0 && context_split(plan).devices() > 1)
      return "the dense path with capacity and a context degree";
  }
  if (config.integer("num_moe_emb_chunks") > 1 && config.integer("num_moe_token_chunks") > 1)
    return "experts in chunks of the tokens and of the embedding at once";
  if (local_batch(plan).tokens() % config.integer("num_vocab_tiling") != 0)
    return "vocabulary tiling that splits a device's tokens unevenly";
  return {};
}

}  // namespace meshsim
