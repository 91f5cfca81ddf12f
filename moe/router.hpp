// Routers: which k experts each token goes to, and with which weights.
//
//   x [T, d]   gate W_g [d, E]   z = x W_g   pre = score(z)   biased = pre + b
//
// One rule has four parts, and every published router is a choice of them:
//   selection   the k largest of `biased`; with groups, only among the kept groups
//   weights     from the chosen values, per WeightRule
//   normalise   divide by (sum of the k weights + 1e-20)
//   scale       multiply by routed_scaling_factor
// A hash layer replaces the selection by a table row and has no bias.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "moe/scores.hpp"
#include "moe/tensor.hpp"
#include "routing/hash_table.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

enum class WeightRule {
  softmax_of_chosen,  // softmax over the k chosen biased values (Mixtral, Qwen3, GPT-OSS)
  chosen_scores,      // pre at the chosen ids (DeepSeek); random routing: the gate value
  softmax_of_all,     // softmax over all E of z, taken at the chosen ids (Gemma4)
  rows_by_sigmoid,    // Llama4: sigmoid(z) multiplies the input row, the weight is 1; k = 1
};

struct RouterRule {
  std::int64_t experts = 0;       // num_experts, E
  std::int64_t top_k = 0;         // num_experts_per_tok, k
  Score score = Score::identity;  // routed_score_func
  bool bias = false;              // routed_bias: b moves the selection
  WeightRule weights = WeightRule::softmax_of_chosen;
  bool normalise = false;                      // norm_topk_prob
  float scale = 1;                             // routed_scaling_factor
  std::int64_t groups = -1, kept_groups = -1;  // n_routing_groups G, topk_routing_group; -1: none
  bool keeps_pre_bias = false;                 // the weights need `pre` beside `biased` (V3, V4)
  bool random_ids = false;                     // use_random_routing: k independent uniform ids
  bool float32_gate = true;  // float32_gate_logits; false: z and the scores are bfloat16
};

// Throws Error(invalid_input): k > E, E not divisible by G, a group with fewer than two experts,
// kept groups that hold fewer than k experts, or Llama4's rule with k > 1.
void check_rule(const RouterRule& rule);

RouterRule mixtral_rule(std::int64_t experts, std::int64_t top_k);
RouterRule qwen3_rule(std::int64_t experts, std::int64_t top_k);
RouterRule gpt_oss_rule(std::int64_t experts, std::int64_t top_k);
RouterRule gemma4_rule(std::int64_t experts, std::int64_t top_k, bool normalise);
RouterRule llama4_rule(std::int64_t experts);
RouterRule deepseek2_rule(std::int64_t experts, std::int64_t top_k, float scale);
RouterRule deepseek3_rule(std::int64_t experts, std::int64_t top_k, float scale,
                          std::int64_t groups, std::int64_t kept_groups);
RouterRule deepseek4_rule(std::int64_t experts, std::int64_t top_k, float scale);
RouterRule random_rule(std::int64_t experts, std::int64_t top_k);

// What the gate says of every token; both tables travel in a ring of experts.
struct GateOutput {
  Tensor<float> biased;    // [T, E] score and bias: MaxText's "gate_logits"
  Tensor<float> pre_bias;  // [T, E] score; empty unless the rule keeps it
};

struct Choice {
  std::vector<ExpertId> ids;     // [T k], slot t k + j
  Tensor<float> weights;         // [T, k]
  std::vector<float> row_scale;  // [T] Llama4's sigmoid; empty for all other rules
};

// z [T, E]: in float32, or rounded to bfloat16 if the gate is not float32.
template <class T>
Tensor<float> gate_logits(const Tensor<T>& x, const Tensor<T>& gate_kernel, const RouterRule& rule);

// `bias` [E], empty without bias; hash layers pass none.
GateOutput score_gate(const RouterRule& rule, Tensor<float> logits, std::span<const float> bias);

// The seed of random ids and the number of each token in the global batch, [T]: equal tokens draw
// equal ids, whichever rank draws them.
struct RandomDraw {
  std::uint64_t seed = 0;
  std::vector<std::int64_t> tokens;
};

// `expert_scale` [E]: Gemma4's per_expert_scale, or empty. `draw` is for random ids only.
Choice choose_experts(const RouterRule& rule, const GateOutput& gate,
                      std::span<const float> expert_scale = {}, const RandomDraw& draw = {});

// Hash routing: the ids are given, [T k]; the weights follow the rule. `gate` has no bias.
Choice weigh_given_experts(const RouterRule& rule, const GateOutput& gate,
                           std::vector<ExpertId> ids);

// The same from the logits z [T, E], looking at just the k that the table names where scores are
// elementwise. Throws Error(invalid_input) if a token id or an expert does not exist.
Choice choose_by_table(const RouterRule& rule, const Tensor<float>& logits,
                       std::span<const std::int64_t> token_ids, const HashTable& table);

// 1 for the experts of the kept groups of one row of biased scores, else 0; [E].
std::vector<std::int32_t> kept_group_mask(const RouterRule& rule, const float* biased);

}  // namespace meshsim
