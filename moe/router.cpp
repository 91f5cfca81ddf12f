#include "moe/router.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "moe/clones.hpp"
#include "moe/gate_product.hpp"
#include "moe/top_k.hpp"
#include "routing/random.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Protects the division when every chosen score underflows.
constexpr float least_sum = 1e-20F;

void round_if_bf16(const RouterRule& rule, std::span<float> values) {
  if (rule.float32_gate) return;
  for (float& value : values) value = rounded_to_bf16(value);
}

MESHSIM_CLONES void add_rows(const float* a, const float* b, std::int64_t width, float* sum) {
  for (std::int64_t i = 0; i < width; ++i) sum[i] = a[i] + b[i];
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

// The last two parts of a rule, on the k weights of one token.
void scale_weights(const RouterRule& rule, float* weights) {
  float divisor = 1;
  if (rule.normalise) {
    float sum = 0;
    for (std::int64_t j = 0; j < rule.top_k; ++j) sum += weights[j];
    divisor = sum + least_sum;
  }
  for (std::int64_t j = 0; j < rule.top_k; ++j) weights[j] = weights[j] / divisor * rule.scale;
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
    scale_weights(rule, w);
    for (std::int64_t j = 0; j < k; ++j) {
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
  Tensor<float> z = gate_product(x, gate_kernel);  // [T, E]
  round_if_bf16(rule, z.flat());
  return z;
}

GateOutput score_gate(const RouterRule& rule, Tensor<float> logits, std::span<const float> bias) {
  const std::int64_t tokens = logits.rows(), experts = logits.width();
  if (!bias.empty() && static_cast<std::int64_t>(bias.size()) != experts)
    throw Error(ErrorKind::invalid_input,
                fmt::format("bias: must have {} elements (got {})", experts, bias.size()));
  GateOutput gate;
  if (rule.keeps_pre_bias) gate.pre_bias = Tensor<float>(logits.shape());
  constexpr std::int64_t block = 16;  // rows that stay in the cache
  for (std::int64_t first = 0; first < tokens; first += block) {
    const std::int64_t rows = std::min(block, tokens - first);
    const std::span<float> biased(logits.row(first), static_cast<std::size_t>(rows * experts));
    float* const pre = rule.keeps_pre_bias ? gate.pre_bias.row(first) : biased.data();
    score_rows(rule.score, biased.data(), rows, experts, pre);
    round_if_bf16(rule, {pre, biased.size()});
    if (!bias.empty()) {
      for (std::int64_t t = 0; t < rows; ++t)
        add_rows(pre + t * experts, bias.data(), experts, biased.data() + t * experts);
      round_if_bf16(rule, biased);
    } else if (rule.keeps_pre_bias) {
      std::copy_n(pre, biased.size(), biased.data());
    }
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

Choice choose_by_table(const RouterRule& rule, const Tensor<float>& logits,
                       std::span<const std::int64_t> token_ids, const HashTable& table) {
  const std::int64_t tokens = logits.rows(), k = rule.top_k;
  if (static_cast<std::int64_t>(token_ids.size()) != tokens || table.top_k != k)
    throw Error(ErrorKind::invalid_input,
                fmt::format("a hash layer needs one token id per row and a table of width {} (got "
                            "{} ids for {} rows, width {})",
                            k, token_ids.size(), tokens, table.top_k));
  Choice choice;
  choice.ids.resize(static_cast<std::size_t>(tokens * k));
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto row = table.row(token_ids[static_cast<std::size_t>(t)]);
    std::copy(row.begin(), row.end(), choice.ids.begin() + t * k);
  }
  if (rule.score == Score::softmax || rule.weights != WeightRule::chosen_scores)
    return weigh_given_experts(rule, score_gate(rule, logits, {}), std::move(choice.ids));

  choice.weights = Tensor<float>({tokens, k});  // [T, k], first the chosen logits
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < k; ++j) {
      const ExpertId e = choice.ids[static_cast<std::size_t>(t * k + j)];
      if (e < 0 || e >= rule.experts) slots_per_expert(choice.ids, rule.experts);  // refuses it
      choice.weights.row(t)[j] = logits.row(t)[e];
    }
  score_rows(rule.score, choice.weights.data(), tokens, k, choice.weights.data());
  round_if_bf16(rule, choice.weights.flat());
  for (std::int64_t t = 0; t < tokens; ++t) scale_weights(rule, choice.weights.row(t));
  return choice;
}

template Tensor<float> gate_logits(const Tensor<float>&, const Tensor<float>&, const RouterRule&);
template Tensor<float> gate_logits(const Tensor<Bf16>&, const Tensor<Bf16>&, const RouterRule&);

}  // namespace meshsim
