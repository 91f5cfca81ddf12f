#include "program/local_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topologies/layout.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::vector<std::string> batch_axes(const Plan& plan) {
  const std::vector<std::string> logical{"activation_batch"};
  return plan.rules.resolve(logical).front();
}

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

Weight local_weight(const Plan& plan, const Tensor& tensor, const std::vector<std::string>& batch) {
  const std::vector<std::vector<std::string>> sharding = plan.rules.resolve(tensor.axes);
  Weight weight;
  weight.name = tensor.name;
  weight.trainable = tensor.trainable;
  weight.gradient = tensor.trainable && tensor.gradient;
  weight.elements = tensor.elements();
  std::vector<std::int64_t> shard = tensor.shape;
  std::vector<std::string> resting;
  for (std::size_t i = 0; i < sharding.size(); ++i) {
    shard[i] = ceil_div(shard[i], shards(plan.mesh, sharding[i]));
    for (const std::string& axis : sharding[i]) {
      resting.push_back(axis);
      // Experts compute where they rest; everything else is gathered whole.
      if (tensor.axes[i] == "exp") {
        weight.elements /= plan.mesh.size(axis);
      } else {
        weight.gather_axes.push_back(axis);
      }
    }
  }
  for (const std::string& axis : batch) {
    if (!contains(resting, axis)) weight.reduce_axes.push_back(axis);
  }
  weight.gather_group = shards(plan.mesh, weight.gather_axes);
  weight.reduce_group = shards(plan.mesh, weight.reduce_axes);
  const DType rest = tensor.dtype.value_or(plan.training.weights);
  weight.gathered = Bytes(weight.elements) * element_bytes(plan.training.activations);
  weight.local_gradient = Bytes(weight.elements) * element_bytes(rest);
  weight.gradient_shard = padded_bytes(shard, rest);
  return weight;
}

}  // namespace

LocalBatch local_batch(const Plan& plan) {
  const std::int64_t parts = shards(plan.mesh, batch_axes(plan));
  const std::int64_t micro = plan.training.global_batch / plan.training.gradient_accumulation;
  if (micro % parts != 0) {
    throw plan.config.refusal(
        "per_device_batch_size",
        fmt::format("{} sequences do not divide over {} devices", micro, parts),
        fmt::format("a global batch that is a multiple of {}", parts));
  }
  return {micro / parts, plan.training.sequence_length};
}

std::vector<Weight> local_weights(const Plan& plan, const std::vector<Tensor>& tensors) {
  const std::vector<std::string> batch = batch_axes(plan);
  std::vector<Weight> weights;
  for (const Tensor& tensor : tensors) weights.push_back(local_weight(plan, tensor, batch));
  return weights;
}

std::vector<Tensor> plan_layer_tensors(const Plan& plan, const LayerKind& kind) {
  return state_tensors(plan.model, kind, plan.expert_axes);
}

}  // namespace meshsim
