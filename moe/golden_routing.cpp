// Golden behaviours of routers, losses, permutations.
#include <algorithm>
#include <numeric>

#include "moe/golden_check.hpp"
#include "moe/load_balance.hpp"
#include "moe/permute.hpp"
#include "moe/router.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

Computed integers(const std::string& name, const std::vector<ExpertId>& ids, Shape shape) {
  return computed_integers(name, std::span<const ExpertId>(ids), std::move(shape));
}
Computed counts(const std::string& name, const std::vector<std::int64_t>& values) {
  return computed_integers(name, std::span<const std::int64_t>(values),
                           {static_cast<std::int64_t>(values.size())});
}

// The same choice with each token's slots in the order of their expert ids.
Choice by_expert_id(const Choice& choice) {
  Choice sorted = choice;
  const std::int64_t k = choice.weights.width();
  std::vector<std::int64_t> order(static_cast<std::size_t>(k));
  for (std::int64_t t = 0; t < choice.weights.rows(); ++t) {
    const auto id = [&](std::int64_t j) { return choice.ids[static_cast<std::size_t>(t * k + j)]; };
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](std::int64_t a, std::int64_t b) { return id(a) < id(b); });
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t from = order[static_cast<std::size_t>(j)];
      sorted.ids[static_cast<std::size_t>(t * k + j)] = id(from);
      sorted.weights.row(t)[j] = choice.weights.row(t)[from];
    }
  }
  return sorted;
}

// Llama4's golden weights are the raw logits, whose sigmoid scales the rows; it combines with 1.
void set_raw_logits(const GateOutput& gate, const Choice& choice, Tensor<float>& weights) {
  for (std::int64_t t = 0; t < weights.rows(); ++t)
    weights.row(t)[0] = gate.biased.row(t)[choice.ids[static_cast<std::size_t>(t)]];
}

std::vector<float> floats(const Tensor<float>& tensor) {
  return {tensor.flat().begin(), tensor.flat().end()};
}

Outputs topk_router_v4(const GoldenCase& c) {
  const std::int64_t d = c.integer("d"), experts = c.integer("E"), k = c.integer("top_k");
  const std::int64_t tokens = c.integer("B") * c.integer("S");
  const RouterRule rule =
      deepseek4_rule(experts, k, static_cast<float>(c.real("routed_scaling_factor")));
  const Tensor<float> x = c.tensor("x", {-1, -1, d});
  const Tensor<float> bias = c.tensor("bias", {experts});
  Tensor<float> z = gate_logits(x, c.tensor("gate_kernel", {d, experts}), rule);
  Outputs out{computed("logits", z)};
  const GateOutput gate = score_gate(rule, std::move(z), bias.flat());
  const Choice choice = choose_experts(rule, gate), sorted = by_expert_id(choice);
  out.push_back(computed("pre_bias", gate.pre_bias));
  out.push_back(integers("indices", sorted.ids, {tokens, k}));
  out.push_back(computed("weights", sorted.weights));
  out.push_back(integers("indices_desc", choice.ids, {tokens, k}));
  out.push_back(computed("weights_desc", choice.weights));
  return out;
}

Outputs hash_router_v4(const GoldenCase& c) {
  const std::int64_t d = c.integer("d"), experts = c.integer("E"), k = c.integer("top_k");
  const std::int64_t tokens = c.integer("B") * c.integer("S"), vocab = c.integer("vocab");
  const RouterRule rule =
      deepseek4_rule(experts, k, static_cast<float>(c.real("routed_scaling_factor")));
  const std::vector<ExpertId> table = c.ids("tid2eid", {vocab, k});
  Tensor<float> z =
      gate_logits(c.tensor("x", {-1, -1, d}), c.tensor("gate_kernel", {d, experts}), rule);
  Outputs out{computed("logits", z)};
  const GateOutput gate = score_gate(rule, std::move(z), {});
  std::vector<ExpertId> ids;
  for (const std::int64_t token : c.integers("input_ids", {-1, -1})) {
    if (token < 0 || token >= vocab)
      throw Error(ErrorKind::invalid_input, "input_ids: a token id is outside the vocabulary");
    ids.insert(ids.end(), table.begin() + token * k, table.begin() + (token + 1) * k);
  }
  const Choice choice = weigh_given_experts(rule, gate, std::move(ids));
  out.push_back(computed("pre_bias", gate.pre_bias));
  out.push_back(integers("indices", choice.ids, {tokens, k}));
  out.push_back(computed("weights", choice.weights));
  return out;
}

Outputs deepseek_v3_grouped_routing(const GoldenCase& c) {
  const std::int64_t b = c.integer("B"), s = c.integer("S"), experts = c.integer("E");
  const std::int64_t k = c.integer("top_k");
  const bool raw = c.configures("raw_scores");
  const float scale = raw ? 1.0F : static_cast<float>(c.real("routed_scaling_factor"));
  RouterRule rule = deepseek3_rule(experts, k, scale, c.integer("n_routing_groups"),
                                   c.integer("topk_routing_group"));
  if (c.configures("unscaled_weights")) rule.normalise = false;
  GateOutput gate;
  if (raw) {
    gate.biased = c.tensor("biased", {b, s, experts});
    gate.pre_bias = c.tensor("pre_bias", {b, s, experts});
  } else {
    const std::int64_t d = c.integer("d");
    gate = score_gate(
        rule, gate_logits(c.tensor("x", {b, s, d}), c.tensor("gate_kernel", {d, experts}), rule),
        c.tensor("bias", {experts}).flat());
  }
  const Choice choice = choose_experts(rule, gate);
  std::vector<std::int32_t> mask;
  for (std::int64_t t = 0; t < b * s; ++t) {
    const auto row = rule.groups == -1
                         ? std::vector<std::int32_t>(static_cast<std::size_t>(experts), 1)
                         : kept_group_mask(rule, gate.biased.row(t));
    mask.insert(mask.end(), row.begin(), row.end());
  }
  return {computed("pre_bias", gate.pre_bias, {b, s, experts}),
          integers("group_mask", mask, {b, s, experts}), integers("indices", choice.ids, {b, s, k}),
          computed("weights", choice.weights, {b, s, k})};
}

Outputs softmax_topk(const GoldenCase& c) {
  const std::int64_t b = c.integer("B"), s = c.integer("S"), experts = c.integer("E");
  const std::int64_t k = c.integer("top_k");
  const std::string variant = c.text("variant");
  const auto is = [&](const char* prefix) { return variant.rfind(prefix, 0) == 0; };
  const Shape shape{b, s, experts};
  RouterRule rule = mixtral_rule(experts, k);
  std::string logits = "logits";
  std::vector<float> bias, scale;
  if (is("qwen3")) {
    rule = qwen3_rule(experts, k);
  } else if (is("gptoss")) {
    rule = gpt_oss_rule(experts, k);
    logits = "logits_pre_bias";
    bias = floats(c.tensor("bias", {experts}));
  } else if (is("gemma4")) {
    rule = gemma4_rule(experts, k, c.configures("norm_topk_prob"));
    if (c.has_input("per_expert_scale")) scale = floats(c.tensor("per_expert_scale", {experts}));
  } else if (is("llama4")) {
    rule = llama4_rule(experts);
  } else if (is("deepseek2")) {
    rule = deepseek2_rule(experts, k, static_cast<float>(c.real("routed_scaling_factor")));
    logits = "logits_pre_softmax";
  } else if (!is("mixtral")) {
    throw Error(ErrorKind::invalid_input, "config.variant: names no known router");
  }
  const GateOutput gate = score_gate(rule, c.tensor(logits, shape), bias);
  Choice choice = choose_experts(rule, gate, scale);
  if (is("llama4")) set_raw_logits(gate, choice, choice.weights);
  return {integers("indices", choice.ids, {b, s, k}),
          computed("weights", choice.weights, {b, s, k})};
}

Outputs load_balance(const GoldenCase& c) {
  const std::int64_t b = c.integer("B"), s = c.integer("S"), experts = c.integer("E");
  const std::int64_t k = c.integer("top_k");
  const double weight = c.real("load_balance_loss_weight");
  const Tensor<float> logits = c.tensor("gate_logits", {b, s, experts});
  const std::vector<ExpertId> ids = c.ids("indices", {b, s, k});
  slots_per_expert(ids, experts);  // refuses ids that do not exist
  Outputs out{computed_scalar("loss", load_balance_loss(logits, ids, s, k, weight))};
  for (const auto& [name, tensor] : c.expected) {
    const std::string prefix = "loss_chunked_";
    if (name.rfind(prefix, 0) != 0) continue;
    const Parsed<std::int64_t> chunks = parse_integer(name.substr(prefix.size()));
    if (chunks && chunks.value() > 0)
      out.push_back(
          computed_scalar(name, load_balance_loss(logits, ids, s, k, weight, chunks.value())));
  }
  return out;
}

Outputs bias_updates(const GoldenCase& c) {
  const std::int64_t experts = c.integer("E");
  const auto slots = slots_per_expert(c.ids("indices", {-1, -1, -1}), experts);
  const std::vector<float> update = bias_update(slots, static_cast<float>(c.real("rate")));
  return {counts("counts", slots),
          Computed{"update", {experts}, {update.begin(), update.end()}, {}}};
}

Outputs permute_unpermute(const GoldenCase& c) {
  const std::int64_t b = c.integer("B"), s = c.integer("S"), d = c.integer("d");
  const std::int64_t experts = c.integer("E"), k = c.integer("top_k"), n = b * s * k;
  const std::int64_t roll = std::max<std::int64_t>(c.integer("roll_to_expert_id"), 0);
  const bool llama4 = c.text("decoder_block") == "LLAMA4";
  const RouterRule rule = llama4 ? llama4_rule(experts) : mixtral_rule(experts, k);
  const GateOutput gate = score_gate(rule, c.tensor("gate_logits", {b, s, experts}), {});
  const Choice choice = choose_experts(rule, gate);
  Tensor<float> x = c.tensor("x", {b, s, d});
  for (std::size_t t = 0; t < choice.row_scale.size(); ++t)
    for (std::int64_t i = 0; i < d; ++i)
      x.row(static_cast<std::int64_t>(t))[i] *= choice.row_scale[t];
  const RouteMetadata sorted = sort_slots(choice.ids, experts, roll);
  Tensor<float> rows({n, d}), y({b, s, d});
  gather_rows(x, sorted.order, k, rows);
  weighted_sum(c.tensor("unpermute_input", {n, d}), inverse_of(sorted.order), choice.weights.data(),
               k, true, y);
  const std::vector<float> update = bias_update(slots_per_expert(choice.ids, experts), 1e-3F);
  Tensor<float> listed = choice.weights;
  if (llama4) set_raw_logits(gate, choice, listed);
  return {computed("sorted_inputs", rows),
          integers("sort_indices", sorted.order, {n}),
          computed("weights", listed, {b, s, k}),
          counts("group_sizes", sorted.group_sizes),
          integers("sorted_experts", labels_of(sorted.group_sizes), {n}),
          computed_scalar("lb_loss", load_balance_loss(gate.biased, choice.ids, s, k, 0.01)),
          Computed{"bias_updates", {experts}, {update.begin(), update.end()}, {}},
          computed("unpermute_output", y)};
}

Outputs weight_sum_bf16(const GoldenCase& c) {
  const std::int64_t tokens = c.integer("T"), k = c.integer("top_k"), d = c.integer("d");
  const Tensor<Bf16> rows = to_bf16(c.tensor("rows", {tokens, k, d}));
  const Tensor<float> weights = c.tensor("weights", {tokens, k});
  std::vector<Slot> inverse(static_cast<std::size_t>(tokens * k));
  std::iota(inverse.begin(), inverse.end(), 0);
  Tensor<Bf16> y({tokens, d});
  weighted_sum(rows, inverse, weights.data(), k, true, y);
  return {computed("out", to_f32(y))};
}

}  // namespace

std::span<const Behaviour> routing_behaviours() {
  static const std::vector<Behaviour> all{
      {"topk_router_v4", topk_router_v4},
      {"hash_router_v4", hash_router_v4},
      {"deepseek_v3_grouped_routing", deepseek_v3_grouped_routing},
      {"softmax_topk", softmax_topk},
      {"load_balance_loss", load_balance},
      {"bias_update", bias_updates},
      {"permute_unpermute", permute_unpermute},
      {"weight_sum_bf16", weight_sum_bf16}};
  return all;
}

}  // namespace meshsim
