#include "model_specs/totals.hpp"

#include <algorithm>
#include <set>

#include "units/checked.hpp"

namespace meshsim {
namespace {

// How the layers `holders` (kind indices) are called: "all", or what they share.
std::string holders_name(const ModelSpec& spec, const std::set<int>& holders) {
  if (holders.size() == spec.kinds.size()) return "all";
  std::set<std::string> attention;
  std::set<std::string> mlp;
  for (const int kind : holders) {
    attention.insert(attention_tag(spec.kinds[static_cast<std::size_t>(kind)]));
    mlp.insert(mlp_tag(spec.kinds[static_cast<std::size_t>(kind)]));
  }
  const bool v4_top_k = spec.is_deepseek4() && mlp == std::set<std::string>{"moe"};
  if (attention.size() == 1) return *attention.begin();
  if (mlp.size() == 1) return v4_top_k ? "topk" : *mlp.begin();
  std::string all;
  for (const std::string& tag : attention) all += (all.empty() ? "" : "+") + tag;
  return all;
}

bool is_embedding_lookup(const ModelSpec& spec, const Tensor& tensor) {
  return tensor.role == TensorRole::embedding && !spec.tied_embedding &&
         tensor.name == "token_embedder/embedding";
}

}  // namespace

std::vector<InventoryEntry> inventory(const ModelSpec& spec) {
  std::vector<InventoryEntry> entries;
  std::vector<std::set<int>> holders;
  for (std::size_t kind = 0; kind < spec.kinds.size(); ++kind) {
    const auto layers = std::count(spec.layers.begin(), spec.layers.end(), static_cast<int>(kind));
    for (Tensor& tensor : layer_tensors(spec, spec.kinds[kind])) {
      auto at = std::find_if(entries.begin(), entries.end(), [&](const InventoryEntry& entry) {
        return entry.tensor.name == tensor.name && entry.tensor.shape == tensor.shape;
      });
      if (at == entries.end()) {
        entries.push_back({std::move(tensor), {}, 0});
        holders.emplace_back();
        at = entries.end() - 1;
      }
      at->count += layers;
      holders[static_cast<std::size_t>(at - entries.begin())].insert(static_cast<int>(kind));
    }
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].layer_kind = holders_name(spec, holders[i]);
  }
  for (Tensor& tensor : global_tensors(spec)) entries.push_back({std::move(tensor), "global", 1});
  if (spec.mtp_layers > 0) {
    for (Tensor& tensor : mtp_tensors(spec)) {
      tensor.name = "mtp_block/" + tensor.name;
      entries.push_back({std::move(tensor), "mtp", spec.mtp_layers});
    }
  }
  return entries;
}

ParameterTotals parameter_totals(const ModelSpec& spec) {
  ParameterTotals totals;
  const std::int64_t experts = spec.config.num_experts;
  const std::int64_t top_k = spec.config.num_experts_per_tok;
  for (const InventoryEntry& entry : inventory(spec)) {
    const Tensor& tensor = entry.tensor;
    const std::int64_t elements =
        checked_multiply(tensor.elements(), entry.count, "parameters of " + tensor.name);
    if (!tensor.trainable) {
      totals.buffers = checked_add(totals.buffers, elements, "buffers");
      continue;
    }
    totals.trainable = checked_add(totals.trainable, elements, "trainable parameters");
    if (tensor.official) totals.official += elements;
    const bool lookup = is_embedding_lookup(spec, tensor) || tensor.role == TensorRole::table;
    if (!tensor.axes.empty() && tensor.axes.front() == "exp") {
      totals.routed += elements;
      totals.active += elements / experts * top_k;
    } else if (!lookup) {
      totals.active += elements;
    }
  }
  return totals;
}

}  // namespace meshsim
