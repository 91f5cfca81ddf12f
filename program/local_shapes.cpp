#include "program/local_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "plans/pipeline.hpp"
#include "topologies/layout.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

using Axes = std::vector<std::string>;

bool contains(const Axes& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

Axes without(const Axes& all, const Axes& some) {
  Axes rest;
  std::copy_if(all.begin(), all.end(), std::back_inserter(rest),
               [&](const std::string& axis) { return !contains(some, axis); });
  return rest;
}

Axes joined(Axes all, const Axes& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// The mesh axes of a dimension that the working copy of `tensor` keeps: what computes on it splits
// its activations in the same way.
Axes kept_axes(const Plan& plan, const ActivationAxes& axes, const Tensor& tensor,
               const std::string& logical) {
  if (logical == "exp" || logical == "expert_only")
    return experts_are_gathered(plan) ? Axes{} : Axes{"expert"};
  constexpr std::array<std::string_view, 6> inside{"heads", "q_heads", "kv_heads",
                                                   "mlp",   "mlp_moe", "vocab"};
  if (std::find(inside.begin(), inside.end(), logical) != inside.end()) return axes.within;
  // A norm inside attention runs over whole rows; all others are of the streams.
  const bool inner = tensor.role == TensorRole::norm && tensor.name.starts_with("self_attention/");
  if ((logical == "norm" && !inner) || logical == "activation_embed") return axes.embed;
  return {};
}

Weight local_weight(const Plan& plan, const Tensor& tensor, const ActivationAxes& axes) {
  const std::vector<Axes> sharding = plan.rules.resolve(tensor.axes);
  Weight weight;
  weight.name = tensor.name;
  weight.trainable = tensor.trainable;
  weight.gradient = tensor.trainable && tensor.gradient;
  weight.on_host = plan.training.parameters_on_host;
  weight.elements = tensor.elements();
  std::vector<std::int64_t> shard = tensor.shape;
  Axes resting;
  const bool grouped =
      tensor.role == TensorRole::expert_kernel && plan.config.boolean("sparse_matmul");
  for (std::size_t i = 0; i < sharding.size(); ++i) {
    shard[i] = ceil_div(shard[i], shards(plan.mesh, sharding[i]));
    const Axes kept = kept_axes(plan, axes, tensor, tensor.axes[i]);
    for (const std::string& axis : sharding[i]) {
      resting.push_back(axis);
      if (contains(kept, axis)) {
        weight.elements /= plan.mesh.size(axis);
      } else {
        weight.gather_axes.push_back(axis);
        weight.relaid |= grouped && i > 0;
      }
    }
  }
  const char* two_stages = tensor.role == TensorRole::expert_kernel
                               ? "moe_fsdp_use_two_stage_all_gather"
                               : "dense_fsdp_use_two_stage_all_gather";
  if (plan.config.boolean(two_stages) && weight.gather_axes.size() > 1) {
    std::stable_partition(weight.gather_axes.begin(), weight.gather_axes.end(),
                          [](const std::string& axis) { return axis == "fsdp"; });
    weight.second_stage =
        shards(plan.mesh, Axes(weight.gather_axes.begin() + 1, weight.gather_axes.end()));
  }
  if (plan.expert_axes == ExpertAxes::fsdp_2d && tensor.role == TensorRole::expert_kernel &&
      !experts_are_gathered(plan)) {
    weight.expert_copies = plan.mesh.size("expert");
    weight.elements /= weight.expert_copies;
    resting.emplace_back("expert");  // whose devices have the gradients of different experts
    if (weight.expert_copies > 1 && !sharding[0].empty()) {
      weight.pass_axes = joined(sharding[0], {"expert"});
      weight.pass_group = shards(plan.mesh, weight.pass_axes);
    }
  }
  weight.reduce_axes = without(joined(joined(axes.batch, axes.length), axes.within), resting);
  weight.gather_group = shards(plan.mesh, weight.gather_axes);
  weight.reduce_group = shards(plan.mesh, weight.reduce_axes);
  const DType rest = tensor.dtype.value_or(plan.training.weights);
  weight.gathered = Bytes(weight.elements) * element_bytes(plan.training.activations);
  weight.local_gradient = Bytes(weight.elements) * element_bytes(rest);
  weight.gradient_shard = padded_bytes(shard, rest);
  return weight;
}

}  // namespace

std::optional<NumberFormat> number_format(const Plan& plan) {
  const std::string quantization = plan.config.text("quantization");
  if (quantization.empty()) return NumberFormat::bfloat16;
  if (quantization == "int8") return NumberFormat::int8;
  if (quantization == "fp8" || quantization == "fp8_full") return NumberFormat::fp8;
  return {};
}

bool experts_are_gathered(const Plan& plan) {
  return !plan.config.boolean("sparse_matmul") && plan.config.real("capacity_factor") <= 0;
}

ActivationAxes activation_axes(const Plan& plan, Place place) {
  const Axes streams{"activation_batch", "activation_norm_length", "activation_embed"};
  const Axes blocks{"activation_batch", "activation_length"};
  const std::vector<Axes> stream = plan.rules.resolve(streams);
  ActivationAxes axes;
  axes.batch = stream[0];
  if (place == Place::outside && plan.mesh.size("stage") > 1)
    axes.batch.insert(axes.batch.begin(), "stage");
  axes.length = plan.rules.resolve(blocks)[1];
  axes.embed = stream[2];
  axes.rows = without(stream[1], axes.length);
  axes.within = joined(axes.embed, axes.rows);
  return axes;
}

namespace {

// A device's part of one of `microbatches` of an accumulation step.
LocalBatch split_batch(const Plan& plan, ActivationAxes axes, std::int64_t microbatches,
                       const char* key) {
  const std::int64_t parts = shards(plan.mesh, axes.batch) * microbatches;
  const std::int64_t micro = plan.training.global_batch / plan.training.gradient_accumulation;
  if (micro % parts != 0) {
    throw plan.config.refusal(
        key,
        microbatches == 1
            ? fmt::format("{} sequences do not divide over {} devices", micro, parts)
            : fmt::format("{} sequences do not divide over {} devices in {} microbatches", micro,
                          parts / microbatches, microbatches),
        fmt::format("a global batch that is a multiple of {}", parts));
  }
  const std::int64_t S = plan.training.sequence_length;
  const std::int64_t length = S / shards(plan.mesh, axes.length);
  return {micro / parts, length, S, std::move(axes)};
}

}  // namespace

LocalBatch local_batch(const Plan& plan) {
  return split_batch(plan, activation_axes(plan, Place::outside), 1, "per_device_batch_size");
}

LocalBatch layer_batch(const Plan& plan) {
  return split_batch(plan, activation_axes(plan, Place::layers),
                     pipeline_schedule(plan).microbatches, "num_pipeline_microbatches");
}

std::vector<Weight> local_weights(const Plan& plan, const std::vector<Tensor>& tensors,
                                  const ActivationAxes& axes) {
  std::vector<Weight> weights;
  for (const Tensor& tensor : tensors) weights.push_back(local_weight(plan, tensor, axes));
  return weights;
}

std::vector<Tensor> plan_layer_tensors(const Plan& plan, const LayerKind& kind) {
  return state_tensors(plan.model, kind, plan.expert_axes);
}

}  // namespace meshsim
