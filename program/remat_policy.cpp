#include "program/remat_policy.hpp"

#include <fmt/format.h>

#include <set>
#include <vector>

namespace meshsim {
namespace {

using Names = std::vector<std::string>;

// The symbols that a checkpoint of MaxText stands for. An attention output kept (`context`) keeps
// the log-sum-exp of its flash kernel too.
const std::map<std::string, Names>& checkpoints() {
  static const std::map<std::string, Names> all{
      {"query_proj", {"q"}},
      {"key_proj", {"kv"}},
      {"value_proj", {"kv"}},
      {"kv_proj", {"kv"}},
      {"qkv_proj", {"q", "kv"}},
      {"query_wa_proj", {"q_lat"}},
      {"kv_wa_proj", {"kv_lat"}},
      {"mla_q", {"q"}},
      {"mla_kv", {"kv"}},
      {"context", {"context", "lse"}},
      {"attention_out", {"attention_out"}},
      {"out_proj", {"attention_result"}},
      {"mlpwi", {"mlp_hidden", "shared_hidden"}},
      {"mlpwi_0", {"mlp_hidden", "shared_hidden"}},
      {"mlpwi_1", {"mlp_hidden", "shared_hidden"}},
      {"mlpwo", {"mlp_out", "shared_out"}},
      {"moe_mlpwi_0", {"expert_up"}},
      {"moe_mlpwi_1", {"expert_up"}},
      {"moe_mlpwo", {"rows_out"}},
  };
  return all;
}

const Names qkv{"query_proj", "key_proj", "value_proj", "kv_proj", "qkv_proj"};
const Names mlp{"mlpwi", "mlpwi_0", "mlpwi_1", "mlpwo"};

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Preset {
  Names checkpoints;
  Kept where = Kept::on_device;
};

const std::map<std::string, Preset>& presets() {
  static const std::map<std::string, Preset> all{
      {"full", {{}}},
      {"minimal_with_context", {qkv + Names{"out_proj", "context"} + mlp}},
      {"minimal_flash", {qkv + Names{"out_proj", "context"} + mlp}},
      {"minimal", {qkv + Names{"out_proj"} + mlp}},
      {"save_dot_with_context_except_mlp", {qkv + Names{"context", "out_proj"}}},
      {"save_dot_except_mlpwi", {qkv + Names{"out_proj", "mlpwo"}}},
      {"save_dot_except_mlp", {qkv + Names{"out_proj"}}},
      {"save_qkv_proj", {qkv}},
      {"save_out_proj", {{"out_proj"}}},
      {"qkv_proj_offloaded", {{"query_proj", "key_proj", "value_proj", "kv_proj"}, Kept::on_host}},
      {"minimal_offloaded", {qkv + Names{"out_proj"} + mlp, Kept::on_host}},
  };
  return all;
}

// The pairs of checkpoints that a template holds in one symbol: keeping one of them is not
// modelled.
constexpr std::pair<const char*, const char*> halves[]{
    {"mlpwi_0", "mlpwi_1"}, {"moe_mlpwi_0", "moe_mlpwi_1"}, {"key_proj", "value_proj"}};

RematPolicy custom_policy(const ResolvedConfig& config) {
  RematPolicy policy;
  for (const auto& [checkpoint, symbols] : checkpoints()) {
    const std::string choice = config.text(checkpoint);
    if (choice == "remat") continue;
    for (const std::string& symbol : symbols) {
      policy.symbols[symbol] = choice == "offload" ? Kept::on_host : Kept::on_device;
    }
  }
  if (config.text("decoder_layer_input") == "offload") policy.input = Kept::on_host;
  return policy;
}

}  // namespace

std::optional<std::string> not_rematted(const Plan& plan) {
  const std::string name = plan.config.text("remat_policy");
  if (name == "custom") {
    for (const auto& [one, other] : halves) {
      if (plan.config.text(one) != plan.config.text(other)) {
        return fmt::format("a remat policy that treats {} and {} differently", one, other);
      }
    }
    return {};
  }
  if (name == "none" || presets().contains(name)) return {};
  return fmt::format("remat_policy={}", name);
}

RematPolicy remat_policy(const Plan& plan) {
  const std::string name = plan.config.text("remat_policy");
  if (name == "custom") return custom_policy(plan.config);
  RematPolicy policy;
  policy.everything = name == "none";
  if (policy.everything) return policy;
  const Preset& preset = presets().at(name);
  for (const std::string& checkpoint : preset.checkpoints) {
    for (const std::string& symbol : checkpoints().at(checkpoint))
      policy.symbols[symbol] = preset.where;
  }
  return policy;
}

std::map<Name, Kept> kept_symbols(const RematPolicy& policy, const LayerTemplate& layer) {
  std::map<Name, Kept> kept;
  if (policy.everything) {
    for (const Name symbol : residuals(layer)) kept[symbol] = Kept::on_device;
    return kept;
  }
  for (const auto& [symbol, unused] : layer.symbols) {
    const auto found = policy.symbols.find(without_chunk(symbol));
    if (found != policy.symbols.end()) kept[symbol] = found->second;
  }
  return kept;
}

}  // namespace meshsim
