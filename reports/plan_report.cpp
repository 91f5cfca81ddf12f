#include "reports/plan_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "reports/topology_report.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

const Chip& chip_of(const PlanResult& result) { return *result.plan.topology.slice.chip; }

Json memory_json(const PlanResult& result) {
  Json memory = Json::array();
  for (const std::string& category : state_categories()) {
    memory.push_back({{"device_class", "all"},
                      {"category", category},
                      {"bytes", result.state.on_device(category).value()}});
  }
  return memory;
}

Json tensors_json(const PlanResult& result) {
  Json tensors = Json::array();
  for (const StateBuffer& buffer : result.state.buffers) {
    tensors.push_back({{"name", buffer.name},
                       {"category", buffer.category},
                       {"dtype", name(buffer.dtype)},
                       {"shape", buffer.shape},
                       {"sharding", buffer.sharding},
                       {"shard", buffer.shard},
                       {"bytes", buffer.bytes.value()},
                       {"unpadded_bytes", buffer.unpadded.value()},
                       {"replicas", buffer.replicas(result.plan.mesh)},
                       {"on_host", buffer.on_host}});
  }
  return tensors;
}

Json mesh_json(const Plan& plan) {
  Json axes = Json::array();
  for (const MeshAxis& axis : plan.mesh.axes)
    axes.push_back({{"name", axis.name}, {"ici", axis.ici}, {"dcn", axis.dcn}});
  return axes;
}

std::vector<std::string> assumptions_of(const PlanResult& result) {
  std::vector<std::string> all = result.plan.assumptions;
  if (!chip_of(result).hbm_usable) {
    all.push_back(fmt::format("usable HBM of {} is not published: the physical HBM stands for it",
                              chip_of(result).name));
  }
  all.push_back("peak_bytes is the state and the batch: the floor of what a step needs");
  return all;
}

std::vector<std::string> not_modelled_of(const PlanResult& result) {
  std::vector<std::string> all = not_modelled(result.plan.topology);
  all.emplace_back("activations, gradients and other temporary buffers of the step");
  all.emplace_back("step time");
  return all;
}

// The largest arrays of the state with shape and padding, as XLA lists allocations.
std::string largest(const PlanResult& result, std::size_t count) {
  std::vector<const StateBuffer*> buffers;
  for (const StateBuffer& buffer : result.state.buffers) {
    if (!buffer.on_host) buffers.push_back(&buffer);
  }
  std::stable_sort(buffers.begin(), buffers.end(),
                   [](const StateBuffer* a, const StateBuffer* b) { return a->bytes > b->bytes; });
  buffers.resize(std::min(count, buffers.size()));
  std::string text;
  for (const StateBuffer* buffer : buffers) {
    const std::int64_t replicas = buffer->replicas(result.plan.mesh);
    text += fmt::format(
        "  {:>10}  {} {}: {}[{}] of [{}]{}\n", in_gib(buffer->bytes), buffer->category,
        buffer->name, name(buffer->dtype), fmt::join(buffer->shard, ","),
        fmt::join(buffer->shape, ","),
        replicas == result.plan.devices() && replicas > 1 ? ", whole on every device" : "");
  }
  return text;
}

std::string mesh_line(const Plan& plan) {
  std::string text;
  for (const MeshAxis& axis : plan.mesh.axes) {
    if (axis.size() == 1) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " x ", axis.name, axis.size());
    if (axis.dcn > 1) text += fmt::format(" ({} over DCN)", axis.dcn);
  }
  return text.empty() ? "one device" : text;
}

}  // namespace

std::string_view name(Verdict verdict) {
  return verdict == Verdict::fits ? "fits" : "does_not_fit";
}

Bytes PlanResult::hbm_usable() const {
  const Chip& chip = *plan.topology.slice.chip;
  return per_device(chip, chip.hbm_usable ? chip.hbm_usable->value : chip.hbm_physical.value);
}

Bytes PlanResult::peak() const { return state.arguments(); }

Verdict PlanResult::verdict() const {
  return peak() <= hbm_usable() ? Verdict::fits : Verdict::does_not_fit;
}

PlanResult evaluate(const Plan& plan) { return {plan, training_state(plan)}; }

Json plan_json(const PlanResult& result, std::string_view kind) {
  const Plan& plan = result.plan;
  Json report = report_head("plan");
  report["kind"] = kind;
  report["provenance"] = provenance(plan.config);
  report["hypothetical"] = plan.hypothetical();
  report["model"] = plan.model.name;
  report["topology"] = {{"name", plan.topology.slice.name},   {"shape", plan.topology.slice.shape},
                        {"slices", plan.topology.slices},     {"chips", plan.topology.chips()},
                        {"devices", plan.topology.devices()}, {"hosts", plan.topology.hosts()}};
  report["mesh"] = mesh_json(plan);
  report["verdict"] = name(result.verdict());
  report["peak_bytes"] = result.peak().value();
  report["hbm_usable_bytes"] = result.hbm_usable().value();
  report["xla"] = {{"argument_bytes", result.state.arguments().value()},
                   {"output_bytes", result.state.output().value()},
                   {"alias_bytes", result.state.alias().value()}};
  report["state_bytes"] = result.state.state().value();
  report["host_bytes_per_device"] = result.state.on_host().value();
  report["memory"] = memory_json(result);
  report["tensors"] = tensors_json(result);
  report["resolved"] = resolved_json(plan.config);
  report["assumptions"] = assumptions_of(result);
  report["not_modelled"] = not_modelled_of(result);
  report["notes"] = plan.config.notes;
  return report;
}

std::string plan_table(const PlanResult& result) {
  const Plan& plan = result.plan;
  const Training& t = plan.training;
  std::string text =
      fmt::format("{}: {} sequences of {} tokens a step on {}\n", printable(plan.model.name),
                  t.global_batch, t.sequence_length, mesh_line(plan));
  if (plan.hypothetical())
    text += fmt::format("HYPOTHETICAL: MaxText refuses this plan; lifted: {}\n",
                        fmt::join(plan.lifted, ", "));
  text += "\nper device                      bytes\n";
  for (const std::string& category : state_categories()) {
    const Bytes bytes = result.state.on_device(category);
    if (bytes.value() > 0)
      text +=
          fmt::format("{:<20} {:>16}  {:>10}\n", category, grouped(bytes.value()), in_gib(bytes));
  }
  text += fmt::format("{:<20} {:>16}  {:>10}\n", "arguments",
                      grouped(result.state.arguments().value()), in_gib(result.state.arguments()));
  text += fmt::format("{:<20} {:>16}  {:>10}\n", "output", grouped(result.state.output().value()),
                      in_gib(result.state.output()));
  text += fmt::format("{:<20} {:>16}  {:>10}\n", "alias", grouped(result.state.alias().value()),
                      in_gib(result.state.alias()));
  if (result.state.on_host().value() > 0)
    text += fmt::format("on the host: {}\n", in_gib(result.state.on_host()));
  text += "\nlargest arrays (shard of whole):\n" + largest(result, 5);
  text += "\nassumed:\n";
  for (const std::string& assumption : assumptions_of(result))
    text += "  " + printable(assumption) + "\n";
  text += "not modelled:\n";
  for (const std::string& missing : not_modelled_of(result)) text += "  " + missing + "\n";

  text += "\n" + topology_headline(plan.topology) + "\n";
  const Bytes used = result.peak();
  const Bytes usable = result.hbm_usable();
  if (result.verdict() == Verdict::fits) {
    text += fmt::format("FITS: used {} of {} hbm by the state, {} left for the step\n",
                        in_gib(used), in_gib(usable), in_gib(usable - used));
  } else {
    text += fmt::format("DOES NOT FIT: used {} of {} hbm, exceeded by {}\n", in_gib(used),
                        in_gib(usable), in_gib(used - usable));
  }
  return text;
}

}  // namespace meshsim
