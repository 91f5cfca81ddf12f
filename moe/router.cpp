#include "moe/router.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "moe/gemm.hpp"
#include "moe/top_k.hpp"
#include "routing/random.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Protects the division when every chosen score underflows.
constexpr float least_sum = 1e-20F;

void round_if_bf16(const RouterRule& rule, Tensor<float>& values) {
  if (rule.float32_gate) return;
  for (float& value : values.flat()) value = rounded_to_bf16(value);
}

// Weights of one token before normalising: values is the row of `biased`, pre the row of `pre`.
void raw_weights(const RouterRule& rule, const float* biased, const float* pre,
                 std::span<const ExpertId> ids, float* scratch, float* weights) {
  switch (rule.weights) {
    case WeightRule::softmax_of_chosen:
      for (std::size_t j = 0; j < ids.size(); ++j) weights[j] = biased[ids[j]];
      softmax_row(weights, static_cast<std::int64_t>(ids.size()), weights);
      return;
    case WeightRule::chosen_scores:
      for (std::size_t j = 0; j < ids.size(); ++j) weights[j] = pre[ids[j]];
      return;
    case WeightRule::softmax_of_all:
      softmax_row(biased, rule.experts, scratch);
      for (std::size_t j = 0; j < ids.size(); ++j) weights[j] = scratch[ids[j]];
      return;
    case WeightRule::rows_by_sigmoid: std::fill_n(weights, ids.size(), 1.0F); return;
  }
}

void weigh(const RouterRule& rule, const GateOutput& gate, std::span<const float> expert_scale,
           Choice& choice) {
  const std::int64_t tokens = gate.biased.rows(), k = rule.top_k;
  const Tensor<float>& pre = rule.keeps_pre_bias ? gate.pre_bias : gate.biased;
  choice.weights = Tensor<float>({tokens, k});  // [T, k]
  if (rule.weights == WeightRule::rows_by_sigmoid)
    choice.row_scale.resize(static_cast<std::size_t>(tokens));
  std::vector<float> scratch(static_cast<std::size_t>(rule.experts));
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto ids =
        std::span(choice.ids).subspan(static_cast<std::size_t>(t * k), static_cast<std::size_t>(k));
    float* const w = choice.weights.row(t);
    raw_weights(rule, gate.biased.row(t), pre.row(t), ids, scratch.data(), w);
    float factor = rule.scale;
    if (rule.normalise) {
      float sum = 0;
      for (std::int64_t j = 0; j < k; ++j) sum += w[j];
      const float divisor = sum + least_sum;
      for (std::int64_t j = 0; j < k; ++j) w[j] /= divisor;
    }
    for (std::int64_t j = 0; j < k; ++j) {
      w[j] *= factor;
      if (!expert_scale.empty())
        w[j] *= expert_scale[static_cast<std::size_t>(ids[static_cast<std::size_t>(j)])];
    }
    if (!choice.row_scale.empty())
      choice.row_scale[static_cast<std::size_t>(t)] = sigmoid(gate.biased.row(t)[ids[0]]);
  }
}

}  // namespace

template <class T>
Tensor<float> gate_logits(const Tensor<T>& x, const Tensor<T>& gate_kernel,
                          const RouterRule& rule) {
  const std::int64_t d = x.width(), experts = gate_kernel.width();
  require_shape(gate_kernel, {d, experts}, "gate_kernel");
  Tensor<float> z({x.rows(), experts});  // [T, E]
  gemm(x.rows(), experts, d, Operand<T>{x.data(), d}, Operand<T>{gate_kernel.data(), experts},
       z.data(), experts, 0.0F);
  round_if_bf16(rule, z);
  return z;
}

GateOutput score_gate(const RouterRule& rule, Tensor<float> logits, std::span<const float> bias) {
  GateOutput gate;
  const std::int64_t tokens = logits.rows(), experts = logits.width();
  score_rows(rule.score, logits.data(), tokens, experts, logits.data());
  round_if_bf16(rule, logits);
  if (rule.keeps_pre_bias) gate.pre_bias = logits;
  if (!bias.empty()) {
    if (static_cast<std::int64_t>(bias.size()) != experts)
      throw Error(ErrorKind::invalid_input,
                  fmt::format("bias: must have {} elements (got {})", experts, bias.size()));
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t e = 0; e < experts; ++e)
        logits.row(t)[e] += bias[static_cast<std::size_t>(e)];
    round_if_bf16(rule, logits);
  }
  gate.biased = std::move(logits);
  return gate;
}

std::vector<std::int32_t> kept_group_mask(const RouterRule& rule, const float* biased) {
  const std::int64_t per_group = rule.experts / rule.groups;
  std::vector<float> scores(static_cast<std::size_t>(rule.groups));
  for (std::int64_t g = 0; g < rule.groups; ++g) {
    std::vector<float> values(biased + g * per_group, biased + (g + 1) * per_group);
    std::partial_sort(values.begin(), values.begin() + 2, values.end(), std::greater<>());
    scores[static_cast<std::size_t>(g)] = values[0] + values[1];
  }
  std::vector<ExpertId> kept(static_cast<std::size_t>(rule.kept_groups));
  TopK(rule.groups, rule.kept_groups)(scores.data(), kept.data());
  std::vector<std::int32_t> mask(static_cast<std::size_t>(rule.experts));
  for (const ExpertId g : kept) std::fill_n(mask.begin() + g * per_group, per_group, 1);
  return mask;
}

Choice choose_experts(const RouterRule& rule, const GateOutput& gate,
                      std::span<const float> expert_scale, const RandomDraw& draw) {
  check_rule(rule);
  const std::int64_t tokens = gate.biased.rows(), k = rule.top_k;
  Choice choice;
  choice.ids.resize(static_cast<std::size_t>(tokens * k));
  TopK largest(rule.experts, k);
  std::vector<float> masked(static_cast<std::size_t>(rule.experts));
  for (std::int64_t t = 0; t < tokens; ++t) {
    ExpertId* const ids = choice.ids.data() + t * k;
    const float* values = gate.biased.row(t);
    if (rule.random_ids) {
      const std::int64_t token = draw.tokens.at(static_cast<std::size_t>(t));
      for (std::int64_t j = 0; j < k; ++j)
        ids[j] = static_cast<ExpertId>(
            random_below(draw.seed, static_cast<std::uint64_t>(token * k + j), rule.experts));
      continue;
    }
    if (rule.groups != -1) {
      const std::vector<std::int32_t> mask = kept_group_mask(rule, values);
      for (std::size_t e = 0; e < mask.size(); ++e)
        masked[e] = mask[e] != 0 ? values[e] : -std::numeric_limits<float>::infinity();
      values = masked.data();
    }
    largest(values, ids);
  }
  weigh(rule, gate, expert_scale, choice);
  return choice;
}

Choice weigh_given_experts(const RouterRule& rule, const GateOutput& gate,
                           std::vector<ExpertId> ids) {
  slots_per_expert(ids, rule.experts);  // refuses ids that do not exist
  Choice choice;
  choice.ids = std::move(ids);
  weigh(rule, gate, {}, choice);
  return choice;
}

template Tensor<float> gate_logits(const Tensor<float>&, const Tensor<float>&, const RouterRule&);
template Tensor<float> gate_logits(const Tensor<Bf16>&, const Tensor<Bf16>&, const RouterRule&);

}  // namespace meshsim
