#include "reports/model_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model_specs/ops.hpp"
#include "model_specs/totals.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

double per_token(FlopCount flops, std::int64_t tokens) {
  return static_cast<double>(flops.value()) / static_cast<double>(tokens);
}

// Whole numbers as integers: 8388608, not 8388608.0.
Json exact(double value) {
  const auto integer = static_cast<std::int64_t>(value);
  if (static_cast<double>(integer) == value) return integer;
  return value;
}

Json axes_json(const std::vector<std::string>& axes) {
  Json list = Json::array();
  for (const std::string& axis : axes) list.push_back(axis.empty() ? Json(nullptr) : Json(axis));
  return list;
}

Json tensors_json(const ModelSpec& model) {
  Json tensors = Json::array();
  for (const InventoryEntry& entry : inventory(model)) {
    const Tensor& tensor = entry.tensor;
    tensors.push_back({{"name", tensor.name},
                       {"layer_kind", entry.layer_kind},
                       {"count", entry.count},
                       {"shape", tensor.shape},
                       {"logical_axes", axes_json(tensor.axes)},
                       {"params", tensor.elements()},
                       {"trainable", tensor.trainable},
                       {"gradient", tensor.trainable && tensor.gradient},
                       {"official", tensor.official}});
    if (tensor.dtype) tensors.back()["dtype"] = name(*tensor.dtype);
  }
  return tensors;
}

Json flops_json(const std::vector<OpGroup>& groups, std::int64_t S) {
  Json flops = Json::array();
  for (const OpGroup& group : groups) {
    for (const Op& op : group.ops) {
      flops.push_back({{"layer_kind", group.layer_kind},
                       {"layers", group.layers},
                       {"op", op.name},
                       {"flops", exact(per_token(op.forward.flops, S))},
                       {"backward_flops", exact(per_token(op.backward.flops, S))},
                       {"recompute_flops", exact(per_token(op.recompute.flops, S))},
                       {"bytes", exact(static_cast<double>(op.forward.bytes.value()) /
                                       static_cast<double>(S))}});
    }
  }
  return flops;
}

Workload workload(const ModelRequest& request) {
  return {request.sequence_length, parse_dtype(request.config.text("dtype")).value(),
          parse_dtype(request.config.text("dtype")).value()};
}

std::string billions(std::int64_t count) {
  return fmt::format("{:>22}  {:8.3f} B", grouped(count), static_cast<double>(count) / 1e9);
}

}  // namespace

Json model_json(const ModelRequest& request) {
  const ModelSpec& model = request.model;
  const ParameterTotals totals = parameter_totals(model);
  const std::int64_t S = request.sequence_length;
  const std::vector<OpGroup> groups = op_groups(model, workload(request));
  const ModelFlops flops = model_flops(groups);

  Json report = report_head("model");
  report["provenance"] = provenance(request.config);
  report["name"] = model.name;
  report["alias"] = model.alias.empty() ? Json(nullptr) : Json(model.alias);
  report["source"] = model.source;
  report["layers"] = model.num_layers();
  report["trainable_params"] = totals.trainable;
  report["official_params"] = totals.official;
  report["active_params"] = totals.active;
  report["routed_expert_params"] = totals.routed;
  report["buffer_elements"] = totals.buffers;
  report["sequence_length"] = S;
  report["forward_flops_per_token"] = exact(per_token(flops.forward, S));
  report["train_flops_per_token"] = exact(per_token(flops.train, S));
  report["tensors"] = tensors_json(model);
  report["flops_per_token"] = flops_json(groups, S);
  report["assumptions"] = {
      "FLOPs are of the mathematics (2 per multiply-add, visible pairs only); kernels may execute "
      "more",
      "norms, rotary embeddings, softmax and Sinkhorn iterations count as bytes, not FLOPs"};
  report["not_modelled"] = Json::array();
  return report;
}

std::string model_table(const ModelRequest& request) {
  const ModelSpec& model = request.model;
  const ParameterTotals totals = parameter_totals(model);
  const std::int64_t S = request.sequence_length;
  const std::vector<OpGroup> groups = op_groups(model, workload(request));
  const ModelFlops flops = model_flops(groups);

  std::string text =
      fmt::format("{}{}: {} layers, D {}, V {}\n", printable(model.name),
                  model.alias.empty() ? "" : fmt::format(" ({})", printable(model.alias)),
                  model.num_layers(), model.emb_dim, model.vocab_size);
  text += fmt::format("source: {}\n\n", printable(model.source));
  text += fmt::format("trainable parameters {}\n", billions(totals.trainable));
  if (totals.official != totals.trainable)
    text += fmt::format("official parameters  {}\n", billions(totals.official));
  text += fmt::format("active per token     {}\n", billions(totals.active));
  if (totals.routed > 0) text += fmt::format("in routed experts    {}\n", billions(totals.routed));
  text += fmt::format("\nFLOPs per token at a sequence of {}\n", S);
  text += fmt::format("{:>14} {:>7} {:>16} {:>12}\n", "layer kind", "layers", "op", "MFLOP");
  for (const OpGroup& group : groups) {
    for (const Op& op : group.ops) {
      const bool first = &op == &group.ops.front();
      text += fmt::format("{:>14} {:>7} {:>16} {:>12.3f}\n", first ? group.layer_kind : "",
                          first ? fmt::format("{}", group.layers) : "", op.name,
                          per_token(op.forward.flops, S) / 1e6);
    }
  }
  text += fmt::format("\nforward {:.3f} GFLOP per token, forward and backward {:.3f} GFLOP\n",
                      per_token(flops.forward, S) / 1e9, per_token(flops.train, S) / 1e9);
  return text;
}

}  // namespace meshsim
