#include "studies/explain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cost_models/machine.hpp"
#include "studies/neighbours.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

struct Move {
  std::string kind;  // moves of one kind exclude each other
  Change change;
  bool changes_training = false;
};

constexpr std::array<const char*, 8> remat_policies{
    "full",    "save_out_proj",        "save_qkv_proj",     "save_dot_except_mlp",
    "minimal", "minimal_with_context", "minimal_offloaded", "none"};

class Moves {
 public:
  explicit Moves(const Plan& plan) : plan_(plan), config_(plan.config) {}

  std::vector<Move> all() {
    for (const char* policy : remat_policies) set("remat_policy", policy);
    meshes();
    if (plan_.model.has_experts()) experts();
    attention();
    collectives();
    set("optimizer_memory_host_offload", "false");
    set("parameter_memory_host_offload", "false");
    batch();
    return std::move(moves_);
  }

 private:
  void add(const char* kind, Change change, bool changes_training = false) {
    moves_.push_back({kind, std::move(change), changes_training});
  }

  // One key, where it is not so already.
  void set(const char* key, const std::string& value) {
    if (flow_text(config_.at(key).value) != value && config_.text(key) != value)
      add(key, {{key, value}});
  }

  // Another degree of `axis`, the rest of the slice to fsdp.
  void degree(const char* axis, const char* key, std::int64_t most) {
    for (std::int64_t size = 1; size <= most; size *= 2) {
      if (size == plan_.mesh.size(axis)) continue;
      Change change{{key, fmt::format("{}", size)}, {"ici_fsdp_parallelism", "-1"}};
      if (config_.integer("ici_data_parallelism") == -1)
        change.emplace_back("ici_data_parallelism", "1");
      add(key, change);
      if (config_.boolean("allow_split_physical_axes")) continue;
      change.emplace_back("allow_split_physical_axes", "true");
      add(key, std::move(change));
    }
  }

  void meshes() {
    constexpr std::int64_t most_experts = 64;
    constexpr std::int64_t most_others = 8;
    if (plan_.model.has_experts()) degree("expert", "ici_expert_parallelism", most_experts);
    degree("tensor", "ici_tensor_parallelism", most_others);
    degree("context", "ici_context_parallelism", most_others);
    if (plan_.mesh.size("data") > 1 && config_.integer("ici_data_parallelism") != 1)
      add("ici_data_parallelism", {{"ici_data_parallelism", "1"}, {"ici_fsdp_parallelism", "-1"}});
  }

  void experts() {
    set("sparse_matmul", "true");
    set("use_custom_sort_vjp", "true");
    for (const char* rows : {"128", "256", "512", "1024"}) {
      Change change;
      for (const char* key :
           {"wi_tile_fwd_batch_seq", "wi_tile_dlhs_batch_seq", "wi_tile_drhs_batch_seq",
            "wo_tile_fwd_batch_seq", "wo_tile_dlhs_batch_seq", "wo_tile_drhs_batch_seq"}) {
        if (flow_text(config_.at(key).value) != rows) change.emplace_back(key, rows);
      }
      if (!change.empty()) add("rows of tiles", std::move(change));
    }
    if (plan_.mesh.size("expert") == 1) return;
    const bool ring = config_.boolean("use_ring_of_experts");
    const std::int64_t chunks = config_.integer("num_moe_token_chunks");
    const std::int64_t slices = config_.integer("num_moe_emb_chunks");
    const auto exchange = [&](bool as_ring, std::int64_t in_chunks, std::int64_t in_slices) {
      if (ring == as_ring && chunks == in_chunks && slices == in_slices) return;
      Change change;
      if (ring != as_ring) change.emplace_back("use_ring_of_experts", as_ring ? "true" : "false");
      if (chunks != in_chunks)
        change.emplace_back("num_moe_token_chunks", fmt::format("{}", in_chunks));
      if (slices != in_slices)
        change.emplace_back("num_moe_emb_chunks", fmt::format("{}", in_slices));
      add("exchange of tokens", std::move(change));
    };
    exchange(false, 1, 0);
    exchange(true, 1, 0);
    for (const std::int64_t parts : {2, 4, 8}) {
      exchange(true, parts, 0);
      exchange(true, 1, parts);
    }
    set("use_batch_split_schedule", "true");
  }

  void attention() {
    if (config_.text("attention") == "dot_product") {
      add("attention", {{"attention", "flash"}, {"use_tokamax_splash", "true"}});
    } else {
      set("use_tokamax_splash", "true");
      set("sa_use_fused_bwd_kernel", "true");
      for (const char* size : {"512", "1024", "2048"}) {
        Change change;
        for (const char* key : {"sa_block_q", "sa_block_kv"}) {
          if (flow_text(config_.at(key).value) != size) change.emplace_back(key, size);
        }
        if (!change.empty()) add("blocks of attention", std::move(change));
      }
    }
  }

  // Features of the compiler beside those that the plan states.
  void collectives() {
    const std::vector<std::string> fusion{"async_collective_fusion"};
    const std::vector<std::string> offload{"sparsecore_offload_all_gather",
                                           "sparsecore_offload_reduce_scatter",
                                           "sparsecore_offload_all_reduce"};
    for (const std::vector<std::string>& features : {fusion, offload}) {
      const auto found = config_.own.find("software");
      std::string mapping;
      const auto put = [&](const std::string& name, const std::string& value) {
        mapping += fmt::format("{}{}: {}", mapping.empty() ? "{" : ", ", name, value);
      };
      bool news = false;
      for (const std::string& feature : features) {
        const Node* stated =
            found == config_.own.end() ? nullptr : found->second.value.find(feature);
        news |= stated == nullptr || stated->text != "true";
        put(feature, "true");
      }
      if (!news) continue;
      if (found != config_.own.end()) {
        for (const Member& member : found->second.value.members) {
          if (std::find(features.begin(), features.end(), member.key) == features.end())
            put(member.key, member.value.text);
        }
      }
      add("meshsim.software", {{"meshsim.software", mapping + "}"}});
    }
  }

  void batch() {
    const double now = config_.real("per_device_batch_size");
    for (const double factor : {0.5, 2.0, 4.0}) {
      if (now * factor >= 1)
        add("per_device_batch_size", {{"per_device_batch_size", fmt::format("{}", now * factor)}},
            true);
    }
  }

  const Plan& plan_;
  const ResolvedConfig& config_;
  std::vector<Move> moves_;
};

}  // namespace

Improvements improvements(const PlanRequest& request, const Evaluation& evaluation,
                          std::size_t most) {
  Improvements found;
  const Evaluation itself = evaluate(*evaluation.plan, Fidelity::closed_form);
  const double now = itself.step->tokens_per_s_per_device;
  std::vector<std::pair<std::string, Improvement>> all;
  for (const Move& move : Moves(*evaluation.plan).all()) {
    ++found.tried;
    const PlanRequest other = changed(request, move.change);
    try {
      const Plan plan = make_plan(other);
      const Evaluation result = evaluate(plan, Fidelity::closed_form);
      if (!result.step) {
        ++found.not_modelled;
        continue;
      }
      if (result.verdict() != Verdict::fits) {
        ++found.too_large;
        continue;
      }
      const double rate = result.step->tokens_per_s_per_device;
      if (rate <= now) {
        ++found.not_faster;
        continue;
      }
      ++found.faster;
      all.emplace_back(move.kind,
                       Improvement{change_text(move.change), command_of(other, "simulate"),
                                   result.step->timeline.total, rate, rate / now - 1, result.peak(),
                                   move.changes_training});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid_input) throw;
      ++found.refused;
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.second.gain > b.second.gain; });
  std::vector<std::string> kinds;
  for (auto& [kind, improvement] : all) {
    if (found.best.size() == most) break;
    if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) continue;
    kinds.push_back(kind);
    found.best.push_back(std::move(improvement));
  }
  return found;
}

Explanation explain(const PlanRequest& request, const Evaluation& evaluation) {
  if (!evaluation.step) {
    std::string reason = "the step of this plan is not modelled";
    if (!evaluation.not_modelled.empty()) reason += ": " + evaluation.not_modelled.front();
    throw Error(ErrorKind::invalid_input, reason, "meshsim fit says what its state needs");
  }
  const Step& step = *evaluation.step;
  std::vector<std::string> on_dcn;
  for (const MeshAxis& axis : evaluation.plan->mesh.axes) {
    if (axis.dcn > 1 && axis.ici == 1) on_dcn.push_back(axis.name);
  }
  return {attribution(step.timeline, on_dcn),
          critical_path(step.program, machine_of(*evaluation.plan)),
          improvements(request, evaluation)};
}

}  // namespace meshsim
