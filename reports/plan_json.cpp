#include <fmt/format.h>

#include "reports/device_report.hpp"
#include "reports/plan_report.hpp"

namespace meshsim {
namespace {

// Arguments by category, then what the step adds to them at its peak. Sums to peak_bytes.
Json memory_json(const Evaluation& evaluation) {
  Json memory = Json::array();
  const auto add = [&](const std::string& category, Bytes bytes) {
    memory.push_back({{"device_class", "all"}, {"category", category}, {"bytes", bytes.value()}});
  };
  for (const std::string& category : state_categories())
    add(category, evaluation.state.on_device(category));
  if (evaluation.step) {
    for (const auto& [category, bytes] : evaluation.step->memory.categories)
      add("temp:" + category, bytes);
  }
  return memory;
}

Json tensors_json(const Evaluation& evaluation) {
  Json tensors = Json::array();
  for (const StateBuffer& buffer : evaluation.state.buffers) {
    tensors.push_back({{"name", buffer.name},
                       {"category", buffer.category},
                       {"dtype", name(buffer.dtype)},
                       {"shape", buffer.shape},
                       {"sharding", buffer.sharding},
                       {"shard", buffer.shard},
                       {"bytes", buffer.bytes.value()},
                       {"unpadded_bytes", buffer.unpadded.value()},
                       {"replicas", buffer.replicas(evaluation.plan->mesh)},
                       {"on_host", buffer.on_host}});
  }
  return tensors;
}

Json mesh_json(const Plan& plan) {
  Json axes = Json::array();
  for (const MeshAxis& axis : plan.mesh.axes) {
    axes.push_back({{"name", axis.name}, {"ici", axis.ici}, {"dcn", axis.dcn}});
  }
  return axes;
}

Json topology_of(const Topology& topology) {
  return {{"name", topology.slice.name},   {"shape", topology.slice.shape},
          {"slices", topology.slices},     {"chips", topology.chips()},
          {"devices", topology.devices()}, {"hosts", topology.hosts()}};
}

Json time_json(const Step& step) {
  Json time = Json::array();
  for (const TimePart& part : step.timeline.parts) {
    time.push_back({{"device_class", "all"},
                    {"layer_kind", part.layer_kind},
                    {"pass", name(part.pass)},
                    {"cause", part.cause},
                    {"ps", part.time.value()}});
  }
  return time;
}

Json collectives_json(const Step& step) {
  Json collectives = Json::array();
  for (const CollectiveTraffic& one : step.traffic) {
    Json& entry = collectives.emplace_back(Json{{"name", one.name},
                                                {"mesh_axis", one.mesh_axis},
                                                {"op", name(one.kind)},
                                                {"count", one.count},
                                                {"payload_bytes", one.payload.value()},
                                                {"bytes_per_device", one.sent.value()},
                                                {"bytes_per_group", one.sent_by_group.value()}});
    for (const Bytes bytes : one.sent_by_rank) entry["bytes_by_rank"].push_back(bytes.value());
  }
  return collectives;
}

Json experts_json(const Step& step) {
  Json experts = Json::array();
  for (const ExpertLayer& one : step.experts) {
    experts.push_back({{"layer", one.layer},
                       {"routing", one.hashed ? "hash" : "top_k"},
                       {"skew_ratio", one.skew},
                       {"slots", one.slots},
                       {"dropped_slots", one.dropped},
                       {"most_rows", one.most_rows},
                       {"mean_rows", one.mean_rows},
                       {"straggler_rank", one.straggler},
                       {"imbalance_ps", one.imbalance.value()}});
  }
  return experts;
}

Json fixes_json(const std::vector<Fix>& fixes) {
  Json all = Json::array();
  for (const Fix& fix : fixes) {
    all.push_back({{"change", fix.change},
                   {"command", fix.command},
                   {"fits", fix.fits},
                   {"bytes_saved", fix.bytes_saved.value()},
                   {"step_time_ps", fix.step_time ? Json(fix.step_time->value()) : Json(nullptr)}});
  }
  return all;
}

void add_step(const std::optional<Step>& step, Json& report) {
  report["step_time_ps"] = step ? Json(step->timeline.total.value()) : Json(nullptr);
  report["tokens_per_s_per_device"] = step ? Json(step->tokens_per_s_per_device) : Json(nullptr);
  report["mfu_ratio"] = step ? Json(step->mfu) : Json(nullptr);
  report["model_flops_per_device"] = step ? Json(step->program.model_flops.value()) : Json(nullptr);
  report["weight_prefetch"] = step ? Json(name(step->prefetch)) : Json(nullptr);
  report["peak_at"] = step ? Json(step->memory.at) : Json(nullptr);
}

}  // namespace

Json plan_json(const Evaluation& evaluation, std::string_view kind, const std::vector<Fix>& fixes,
               const std::optional<DeviceClasses>& devices) {
  const Plan& plan = *evaluation.plan;
  Json report = report_head("plan");
  report["kind"] = kind;
  report["provenance"] = provenance(plan.config);
  report["hypothetical"] = !plan.allowed.empty();
  report["model"] = plan.model.name;
  report["topology"] = topology_of(plan.topology);
  report["mesh"] = mesh_json(plan);
  report["fidelity"] = name(evaluation.fidelity);
  report["verdict"] = name(evaluation.verdict());
  add_step(evaluation.step, report);
  report["step_time_interval"] = interval_json(evaluation.step_time_interval(), "ps", 1e12);
  report["peak_interval"] = interval_json(evaluation.peak_interval(), "bytes", 1);
  const std::optional<double> probability = evaluation.fits_probability();
  report["fits_probability_ratio"] = probability ? Json(*probability) : Json(nullptr);
  report["peak_bytes"] = evaluation.peak().value();
  report["hbm_usable_bytes"] = evaluation.hbm_usable().value();
  report["xla"] = {
      {"argument_bytes", evaluation.state.arguments().value()},
      {"output_bytes", evaluation.state.output().value()},
      {"alias_bytes", evaluation.state.alias().value()},
      {"temp_bytes", evaluation.step ? Json(evaluation.xla_temp().value()) : Json(nullptr)}};
  report["state_bytes"] = evaluation.state.state().value();
  report["host_bytes_per_device"] = evaluation.on_host().value();
  report["memory"] = memory_json(evaluation);
  report["time"] = evaluation.step ? time_json(*evaluation.step) : Json::array();
  report["collectives"] = evaluation.step ? collectives_json(*evaluation.step) : Json::array();
  report["experts"] = evaluation.step ? experts_json(*evaluation.step) : Json::array();
  report["routed_slots"] =
      evaluation.step ? Json(evaluation.step->program.routed_slots) : Json(nullptr);
  report["dropped_slots"] =
      evaluation.step ? Json(evaluation.step->program.dropped_slots) : Json(nullptr);
  report["device_step"] = nullptr;
  report["device_spread"] = Json::array();
  report["device_classes"] = Json::array();
  if (devices) add_devices(*devices, evaluation, report);
  report["fixes"] = fixes_json(fixes);
  report["tensors"] = tensors_json(evaluation);
  report["resolved"] = resolved_json(plan.config);
  report["assumptions"] = evaluation.assumptions;
  report["not_modelled"] = evaluation.not_modelled;
  report["notes"] = plan.config.notes;
  return report;
}

}  // namespace meshsim
