#include "plans/state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "plans/optimizer_state.hpp"
#include "plans/uneven.hpp"
#include "topologies/layout.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

// Mesh axes that shard parameters at all.
constexpr std::array<std::string_view, 8> weight_axes{
    "stage",           "fsdp",   "fsdp_transpose",     "context", "tensor",
    "tensor_sequence", "expert", "context_usp_ulysses"};
// The scalars that a training step of MaxText returns, as XLA's output size of PR 4153 shows (17 x
// 512 B).
constexpr int metrics_per_step = 17;

// Shards and prices one array.
StateBuffer sharded(const Plan& plan, std::string name, std::string category, DType dtype,
                    std::vector<std::int64_t> shape, std::vector<std::vector<std::string>> sharding,
                    Uneven& uneven) {
  StateBuffer buffer{std::move(name),
                     std::move(category),
                     dtype,
                     std::move(shape),
                     std::move(sharding),
                     {},
                     {},
                     {},
                     false};
  for (std::size_t i = 0; i < buffer.shape.size(); ++i) {
    const std::int64_t parts = shards(plan.mesh, buffer.sharding[i]);
    if (buffer.shape[i] % parts != 0) uneven.add(buffer, i);
    buffer.shard.push_back(ceil_div(buffer.shape[i], parts));
  }
  buffer.bytes = padded_bytes(buffer.shard, dtype);
  buffer.unpadded = Bytes(checked_product(buffer.shard, buffer.name)) * element_bytes(dtype);
  return buffer;
}

// The data axis on the first dimension whose shard it divides: the optimizer's copy is updated in
// parts and gathered (MaxText's shard_optimizer_over_data).
std::vector<std::vector<std::string>> over_data(const Plan& plan, const StateBuffer& parameter) {
  std::vector<std::vector<std::string>> sharding = parameter.sharding;
  const std::int64_t data = plan.mesh.size("data");
  for (std::size_t i = 0; data > 1 && i < sharding.size(); ++i) {
    if (parameter.shard[i] % data == 0) {
      sharding[i].emplace_back("data");
      break;
    }
  }
  return sharding;
}

void append_tensor(const Plan& plan, const Tensor& tensor, TrainingState& state, Uneven& uneven) {
  const DType dtype = tensor.dtype.value_or(plan.training.weights);
  StateBuffer parameter = sharded(plan, tensor.name, tensor.trainable ? "parameters" : "buffers",
                                  dtype, tensor.shape, plan.rules.resolve(tensor.axes), uneven);
  parameter.on_host = plan.training.parameters_on_host;
  for (const OptimizerSlot& slot : optimizer_slots(plan.training, tensor, dtype)) {
    StateBuffer buffer =
        sharded(plan, tensor.name, slot.category, slot.dtype, tensor.shape,
                plan.training.optimizer_over_data ? over_data(plan, parameter) : parameter.sharding,
                uneven);
    buffer.on_host = plan.training.optimizer_on_host;
    state.buffers.push_back(std::move(buffer));
  }
  state.buffers.push_back(std::move(parameter));
}

StateBuffer scalar(std::string name, std::string category, DType dtype) {
  StateBuffer buffer{std::move(name), std::move(category), dtype, {}, {}, {}, {}, {}, false};
  buffer.bytes = padded_bytes({}, dtype);
  buffer.unpadded = Bytes(element_bytes(dtype));
  return buffer;
}

void append_counters(const Plan& plan, TrainingState& state) {
  state.buffers.push_back(scalar("step", "counters", DType::int32));
  for (int i = 0; i < optimizer_counters(plan.training.optimizer); ++i) {
    state.buffers.push_back(scalar(fmt::format("optimizer_count_{}", i), "counters", DType::int32));
  }
}

}  // namespace

// Five int32 arrays [sequences, tokens]; the positions of the targets are not used, and dropped by
// XLA.
void append_batch(const Plan& plan, TrainingState& state) {
  constexpr const char* key = "input_data_sharding_logical_axes";
  std::vector<std::string> axes;
  for (const Node& axis : plan.config.at(key).value.items) axes.push_back(axis.text);
  if (axes.size() > 2) {
    throw plan.config.refusal(
        key, fmt::format("must name at most two axes, sequences and tokens (got {})", axes.size()));
  }
  axes.resize(2);
  Uneven uneven;
  for (const char* name :
       {"inputs", "inputs_position", "inputs_segmentation", "targets", "targets_segmentation"}) {
    state.buffers.push_back(sharded(plan, name, "batch", DType::int32,
                                    {plan.training.global_batch, plan.training.sequence_length},
                                    plan.rules.resolve(axes), uneven));
  }
  if (uneven.empty()) return;
  const StateBuffer& inputs = state.buffers.back();
  const std::int64_t parts = shards(plan.mesh, inputs.sharding[0]);
  if (inputs.shape[0] % parts != 0) {
    throw plan.config.refusal(
        "per_device_batch_size",
        fmt::format("{} sequences are split over {} = {} devices, which does not divide them",
                    inputs.shape[0], fmt::join(inputs.sharding[0], " x "), parts),
        fmt::format("a global batch that is a multiple of {}", parts));
  }
  throw plan.config.refusal(
      "max_target_length",
      fmt::format("{} tokens are split over {} = {} devices, which does not divide them",
                  inputs.shape[1], fmt::join(inputs.sharding[1], " x "),
                  shards(plan.mesh, inputs.sharding[1])),
      "a sequence that is a multiple");
}

namespace {

// MaxText aborts when more than sharding_tolerance of the parameter bytes lie on no sharding axis.
void check_sharded_enough(const Plan& plan, const TrainingState& state) {
  std::int64_t sharding_devices = 1;
  for (const std::string_view axis : weight_axes) sharding_devices *= plan.mesh.size(axis);
  if (sharding_devices == 1) return;
  double total = 0;
  double whole = 0;
  for (const StateBuffer& buffer : state.buffers) {
    if (buffer.category != "parameters") continue;
    const double bytes = static_cast<double>(checked_product(buffer.shape, buffer.name) *
                                             element_bytes(buffer.dtype));
    total += bytes;
    const bool split = std::any_of(buffer.sharding.begin(), buffer.sharding.end(),
                                   [](const auto& axes) { return !axes.empty(); });
    if (!split) whole += bytes;
  }
  const double tolerance = plan.config.real("sharding_tolerance");
  if (whole > tolerance * total) {
    throw plan.config.refusal(
        "sharding_tolerance",
        fmt::format("{:.1f} % of the parameter bytes are on every device whole, more than {:.1f} %",
                    100 * whole / total, 100 * tolerance),
        "shard over fsdp, tensor or expert, or raise sharding_tolerance");
  }
}

}  // namespace

std::int64_t StateBuffer::replicas(const LogicalMesh& mesh) const {
  std::int64_t parts = 1;
  for (const auto& axes : sharding) parts *= shards(mesh, axes);
  return mesh.devices() / parts;
}

const std::vector<std::string>& state_categories() {
  static const std::vector<std::string> categories{
      "parameters", "optimizer_mu", "optimizer_nu", "optimizer_momentum",
      "buffers",    "counters",     "batch"};
  return categories;
}

Bytes TrainingState::on_device(std::string_view category) const {
  Bytes sum;
  for (const StateBuffer& buffer : buffers) {
    if (buffer.category == category && !buffer.on_host) sum += buffer.bytes;
  }
  return sum;
}

Bytes TrainingState::state() const {
  Bytes sum;
  for (const std::string& category : state_categories()) {
    if (category != "batch") sum += on_device(category);
  }
  return sum;
}

Bytes TrainingState::batch() const { return on_device("batch"); }

Bytes TrainingState::output() const {
  Bytes sum = state();
  for (const StateBuffer& metric : metrics) sum += metric.bytes;
  return sum;
}

Bytes TrainingState::on_host() const {
  Bytes sum;
  for (const StateBuffer& buffer : buffers) {
    if (buffer.on_host) sum += buffer.bytes;
  }
  return sum;
}

TrainingState resting_state(const Plan& plan) {
  TrainingState state;
  Uneven uneven;
  for (const StoredTensor& stored :
       stored_tensors(plan.model, plan.layout, plan.scan_axis, plan.expert_axes)) {
    append_tensor(plan, stored.tensor, state, uneven);
  }
  uneven.throw_if_any(plan);
  check_sharded_enough(plan, state);
  append_counters(plan, state);
  for (int i = 0; i < metrics_per_step; ++i) {
    state.metrics.push_back(scalar(fmt::format("metric_{}", i), "metrics", DType::float32));
  }
  return state;
}

TrainingState training_state(const Plan& plan) {
  TrainingState state = resting_state(plan);
  append_batch(plan, state);
  return state;
}

}  // namespace meshsim
