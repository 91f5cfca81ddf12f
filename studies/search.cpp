#include "studies/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "topologies/slice.hpp"

namespace meshsim {
namespace {

using TensorNames = std::vector<const char*>;

// Tensors that are kept or computed again together.
const std::vector<TensorNames>& groups() {
  static const std::vector<TensorNames> all{
      {"context"},
      {"out_proj", "attention_out"},
      {"query_proj", "key_proj", "value_proj", "qkv_proj", "mla_q", "mla_kv", "query_wa_proj",
       "kv_wa_proj"},
      {"mlpwo", "moe_mlpwo"},
      {"mlpwi", "mlpwi_0", "mlpwi_1", "moe_mlpwi_0", "moe_mlpwi_1"}};
  return all;
}

constexpr std::array<const char*, 11> policies{"full",
                                               "save_out_proj",
                                               "save_qkv_proj",
                                               "save_dot_except_mlp",
                                               "save_dot_except_mlpwi",
                                               "save_dot_with_context_except_mlp",
                                               "minimal",
                                               "minimal_with_context",
                                               "qkv_proj_offloaded",
                                               "minimal_offloaded",
                                               "none"};

class SpaceAround {
 public:
  explicit SpaceAround(const PlanRequest& request) : config_(resolve_config(request)) {
    space_.base = request;
    space_.source = "search";
  }

  SweepSpace build() {
    machine();
    mesh();
    experts();
    remat();
    batch();
    return std::move(space_);
  }

 private:
  bool stated(const std::string& key) const {
    const Origin origin = config_.at(key).origin;
    return origin != Origin::builtin && origin != Origin::model_file;
  }
  bool of_experts() const { return config_.integer("num_experts") > 1; }

  void add(const char* name, std::vector<Change> entries) {
    if (!entries.empty()) space_.axes.push_back({name, {"<search>"}, std::move(entries)});
  }

  void condition(const std::string& text) {
    static const std::vector<std::string> names = [] {
      std::vector<std::string> all{"chips", "slices", "devices"};
      const std::vector<std::string>& keys = KeyTable::instance().names();
      all.insert(all.end(), keys.begin(), keys.end());
      return all;
    }();
    Node node;
    node.kind = Node::Kind::scalar;
    node.where = {"<search>"};
    node.text = text;
    space_.where.emplace_back(node, names);
  }

  void machine() {
    if (stated("compile_topology") || config_.own.contains("slice_shape")) return;
    std::vector<Change> entries;
    for (const Slice& slice : named_slices()) {
      const std::int64_t chips = slice.chips();
      if (slice.chip->name == "v5p" && (chips & (chips - 1)) == 0)
        entries.push_back({{"compile_topology", slice.name}});
    }
    add("compile_topology", std::move(entries));
  }

  void mesh() {
    for (const Setting& setting : config_.settings) {
      if (setting.key.starts_with("ici_") && stated(setting.key)) return;
    }
    if (!stated("allow_split_physical_axes"))
      space_.base = changed(space_.base, {{"allow_split_physical_axes", "true"}});
    constexpr std::int64_t most_experts = 64;
    constexpr std::int64_t most_others = 8;
    const std::int64_t experts = of_experts() ? config_.integer("num_experts") : 1;
    std::vector<Change> entries;
    for (std::int64_t expert = 1; expert <= std::min(most_experts, experts); expert *= 2) {
      for (std::int64_t context = 1; context <= most_others; context *= 2) {
        for (std::int64_t tensor = 1; tensor <= (of_experts() ? 1 : most_others); tensor *= 2) {
          if (experts % expert == 0) entries.push_back(degrees(expert, context, tensor));
        }
      }
    }
    add("mesh", std::move(entries));
    condition(
        "devices / slices % (ici_expert_parallelism * ici_context_parallelism * "
        "ici_tensor_parallelism) == 0");
  }

  static Change degrees(std::int64_t expert, std::int64_t context, std::int64_t tensor) {
    return {{"ici_fsdp_parallelism", "-1"},
            {"ici_expert_parallelism", fmt::format("{}", expert)},
            {"ici_context_parallelism", fmt::format("{}", context)},
            {"ici_tensor_parallelism", fmt::format("{}", tensor)}};
  }

  void experts() {
    if (!of_experts()) return;
    for (const char* key : {"use_ring_of_experts", "num_moe_token_chunks", "num_moe_emb_chunks",
                            "use_batch_split_schedule"}) {
      if (stated(key)) return;
    }
    std::vector<Change> entries{{{"use_ring_of_experts", "false"}},
                                {{"use_ring_of_experts", "true"}},
                                {{"use_ring_of_experts", "true"}, {"num_moe_token_chunks", "2"}},
                                {{"use_ring_of_experts", "true"}, {"num_moe_token_chunks", "4"}}};
    for (const char* chunks : {"2", "4"}) {
      entries.push_back({{"use_ring_of_experts", "true"},
                         {"num_moe_emb_chunks", chunks},
                         {"use_gmm_v2", "true"},
                         {"use_tokamax_gmm", "true"}});
    }
    condition("ici_expert_parallelism > 1 or not use_ring_of_experts");
    if (config_.text("decoder_block") == "deepseek") {
      entries.push_back({{"use_batch_split_schedule", "true"}});
      condition("ici_expert_parallelism > 1 or not use_batch_split_schedule");
      // What it keeps for the backward pass does not follow the policy.
      if (!stated("remat_policy"))
        condition("remat_policy == 'full' or not use_batch_split_schedule");
    }
    add("experts", std::move(entries));
  }

  void remat() {
    const bool custom = stated("remat_policy") && config_.text("remat_policy") == "custom";
    if (stated("remat_policy") && !custom) return;
    std::vector<Change> entries;
    if (!custom) {
      for (const char* policy : policies) entries.push_back({{"remat_policy", policy}});
    }
    for (std::size_t kept = 0; kept <= groups().size(); ++kept) {
      for (const char* where : {"device", "offload"}) {
        for (const char* input : {"device", "offload"}) {
          Change entry{{"remat_policy", "custom"}};
          choose(entry, {"decoder_layer_input"}, input);
          for (std::size_t i = 0; i < groups().size(); ++i)
            choose(entry, groups()[i], i < kept ? where : "remat");
          if (std::find(entries.begin(), entries.end(), entry) == entries.end())
            entries.push_back(std::move(entry));
        }
      }
    }
    add("remat", std::move(entries));
  }

  void choose(Change& entry, const TensorNames& tensors, const char* choice) const {
    for (const char* tensor : tensors) {
      if (!stated(tensor) && config_.text(tensor) != choice) entry.emplace_back(tensor, choice);
    }
  }

  void batch() {
    if (stated("per_device_batch_size")) return;
    std::vector<Change> entries;
    for (const char* size : {"1", "2", "4", "8", "16"})
      entries.push_back({{"per_device_batch_size", size}});
    add("per_device_batch_size", std::move(entries));
  }

  ResolvedConfig config_;
  SweepSpace space_;
};

}  // namespace

SweepSpace search_space(const PlanRequest& request) { return SpaceAround(request).build(); }

}  // namespace meshsim
