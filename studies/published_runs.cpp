#include "studies/published_runs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <stdexcept>
#include <string_view>

#include "inputs/embedded.hpp"
#include "inputs/fields.hpp"
#include "inputs/json.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_studies();

namespace {

constexpr std::string_view schema = "published-runs/1";

// What names a source, not a feature.
constexpr std::array<std::string_view, 2> provenance_only{"flag_groups", "xla_flags"};

bool is_null(const Node* node) { return node == nullptr || node->kind == Node::Kind::null; }

std::optional<double> real_or_nothing(Fields& fields, const Node& mapping, const char* key) {
  fields.ignore(key);
  return is_null(mapping.find(key)) ? std::nullopt : std::optional(fields.real(key));
}

std::string text_or_nothing(Fields& fields, const Node& row, const char* key) {
  fields.ignore(key);
  return is_null(row.find(key)) ? std::string() : fields.text(key);
}

constexpr double bytes_per_gib = 1024.0 * 1024.0 * 1024.0;

// A figure in bytes, or else in GiB, as GiB.
std::optional<double> gib_of(Fields& fields, const Node& measured, const char* in_bytes,
                             const char* in_gib) {
  const std::optional<double> rounded = real_or_nothing(fields, measured, in_gib);
  const std::optional<double> exact = real_or_nothing(fields, measured, in_bytes);
  return exact ? *exact / bytes_per_gib : rounded;
}

// Figures that nothing is compared with (tokens per second, MFU, ...) are not looked at.
Measured measured_of(const Node& node, const std::string& path, Diagnostics& faults) {
  Fields fields(node, path, faults);
  Measured measured;
  measured.step_time_s = real_or_nothing(fields, node, "step_time_s");
  if (measured.step_time_s && !(*measured.step_time_s > 0)) {
    faults.add({node.find("step_time_s")->where, path + ".step_time_s", "must be above 0", {}});
  }
  measured.arguments_gib = gib_of(fields, node, "argument_bytes", "hbm_argument_gib");
  measured.temp_gib = gib_of(fields, node, "temp_bytes", "hbm_temp_gib");
  const auto output = gib_of(fields, node, "output_bytes", "hbm_output_gib");
  const auto alias = gib_of(fields, node, "alias_bytes", "hbm_alias_gib");
  measured.total_gib = real_or_nothing(fields, node, "hbm_total_gib");
  if (!measured.total_gib && measured.arguments_gib && output && measured.temp_gib && alias) {
    measured.total_gib = *measured.arguments_gib + *output + *measured.temp_gib - *alias;
  }
  measured.oom_needed_gib = real_or_nothing(fields, node, "oom_needed_gib");
  if (!is_null(node.find("oom_at_compile"))) {
    measured.oom_at_compile = fields.boolean("oom_at_compile");
  }
  return measured;
}

void assign(PlanRequest& request, const std::string& key, const std::string& value) {
  std::erase_if(request.assignments,
                [&](const std::string& word) { return word.starts_with(key + "="); });
  request.assignments.push_back(fmt::format("{}={}", key, value));
}

Node scalar(std::string text, const Location& where) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.text = std::move(text);
  node.where = where;
  return node;
}

// [4, 8, 8] as 4x8x8.
Node shape_word(const Node& value) {
  if (value.kind != Node::Kind::sequence) return value;
  std::string text;
  for (const Node& size : value.items) text += (text.empty() ? "" : "x") + flow_text(size);
  return scalar(text, value.where);
}

void add_plan(const Node& plan, PlanRequest& request) {
  for (const Member& member : plan.members) {
    if (member.key == "slice_shape") {
      request.own["slice_shape"] = shape_word(member.value);
    } else {
      const Node::Kind kind = member.value.kind;
      assign(request, member.key,
             kind == Node::Kind::scalar ? member.value.text
             : kind == Node::Kind::null ? "None"
                                        : flow_text(member.value));
    }
  }
}

void add_software(const Node* software, PlanRequest& request) {
  if (is_null(software)) return;
  Node features = *software;
  std::erase_if(features.members, [](const Member& feature) {
    return feature.value.kind == Node::Kind::null ||
           std::find(provenance_only.begin(), provenance_only.end(), feature.key) !=
               provenance_only.end();
  });
  if (!features.members.empty()) request.own["software"] = std::move(features);
}

// The block is the whole model: what it does not state has MaxText's defaults.
void add_block(const Node& block, const std::string& path, PublishedRun& run, Diagnostics& faults) {
  Fields fields(block, path, faults);
  PlanRequest& request = run.request;
  const auto set = [&](const char* from, const char* key) {
    assign(request, key, fmt::format("{}", fields.integer(from, {1})));
  };
  assign(request, "model_name", "default");
  set("hidden", "base_emb_dim");
  set("mlp", "base_moe_mlp_dim");
  set("experts", "num_experts");
  set("topk", "num_experts_per_tok");
  set("tokens_per_device", "max_target_length");
  set("ep_size", "ici_expert_parallelism");
  set("dp_size", "ici_data_parallelism");
  assign(request, "per_device_batch_size", "1");
  if (const auto factor = real_or_nothing(fields, block, "capacity_factor")) {
    assign(request, "capacity_factor", fmt::format("{}", *factor));
  }
  const std::string variant = fields.text("dispatch_variant");
  if (variant != "ring_legacy" && variant != "ring" && variant != "ragged_a2a") {
    run.not_modelled = fmt::format("a MoE block that dispatches by {}", in_quotes(variant));
  }
  assign(request, "use_ring_of_experts", variant == "ragged_a2a" ? "false" : "true");
  const std::string pass = text_or_nothing(fields, block, "pass");
  if (!pass.empty() && pass != "forward_backward") {
    run.not_modelled = fmt::format("the {} pass of a MoE block alone", in_quotes(pass));
  }
  Node flags;
  flags.kind = Node::Kind::mapping;
  flags.where = block.where;
  flags.members.push_back({"dispatch_variant", block.where, scalar(variant, block.where)});
  const Node* shared = block.find("shared_expert_mlp_dim");
  const bool has_shared = !is_null(shared) && fields.integer("shared_expert_mlp_dim", {0}) > 0;
  assign(request, "shared_experts", has_shared ? "1" : "0");
  if (has_shared) flags.members.push_back({"shared_expert_mlp_dim", shared->where, *shared});
  request.own["moe_block"] = std::move(flags);
}

PublishedRun run_of(const Node& row, const std::string& path, Diagnostics& faults) {
  Fields fields(row, path, faults);
  PublishedRun run;
  run.id = fields.text("id");
  run.model = fields.text("model");
  run.chip = fields.text("chip");
  run.kind = fields.text("kind");
  run.family = fields.text("family");
  run.quality = text_or_nothing(fields, row, "quality");
  run.ablation = text_or_nothing(fields, row, "ablation");
  if (const Node* inferred = row.find("inferred")) {
    for (const Node& item : inferred->items) run.inferred.push_back(item.text);
  }
  const Node* plan = fields.node("plan");
  const Node* measured = fields.node("measured");
  if (plan == nullptr || measured == nullptr) return run;
  run.measured = measured_of(*measured, path + ".measured", faults);
  assign(run.request, "model_name", run.model);
  // Rows state what a run came to, also what the file of its model says.
  assign(run.request, "override_model_config", "true");
  if (plan->kind != Node::Kind::mapping) {
    faults.add({plan->where, path + ".plan", "must be a mapping, got " + described(*plan), {}});
    return run;
  }
  add_plan(*plan, run.request);
  add_software(row.find("software"), run.request);
  if (run.kind == "moe_block") {
    const Node* block = fields.node("block");
    if (block != nullptr) add_block(*block, path + ".block", run, faults);
  } else if (run.kind != "train_step" && run.kind != "compile") {
    run.not_modelled = fmt::format("a run of kind {}", in_quotes(run.kind));
  }
  return run;
}

}  // namespace

Source published_runs_file() {
  for (const EmbeddedFile& file : embedded_studies()) {
    if (file.path.ends_with("published_runs.json"))
      return {std::string(file.path), std::string(file.text)};
  }
  throw std::logic_error("no published runs are built in");
}

PublishedRuns parse_published_runs(const Source& file) {
  const Node root = parse_json(file);
  Diagnostics faults;
  Fields fields(root, "", faults);
  const std::string found = fields.text("schema");
  if (found != schema) {
    const Node* stated = root.find("schema");
    faults.add({stated == nullptr ? root.where : stated->where,
                "schema",
                fmt::format("must be {} (got {})", schema, in_quotes(found)),
                {}});
  }
  const Node* rows = fields.node("rows");
  faults.throw_if_any();
  if (rows->kind != Node::Kind::sequence) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{rows->where, "rows", "must be a list, got " + described(*rows), {}});
  }
  PublishedRuns all{file.name, file.text, {}};
  std::set<std::string> ids;
  for (std::size_t i = 0; i < rows->items.size(); ++i) {
    PublishedRun run = run_of(rows->items[i], fmt::format("rows[{}]", i), faults);
    if (!run.id.empty() && !ids.insert(run.id).second) {
      faults.add({rows->items[i].where,
                  fmt::format("rows[{}].id", i),
                  fmt::format("{} stands twice", in_quotes(run.id)),
                  {}});
    }
    all.runs.push_back(std::move(run));
  }
  faults.throw_if_any();
  return all;
}

}  // namespace meshsim
