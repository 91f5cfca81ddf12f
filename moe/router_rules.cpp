// The published routers as choices of the four parts of a rule.
#include <fmt/format.h>

#include "moe/router.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

RouterRule plain(std::int64_t experts, std::int64_t top_k) {
  RouterRule rule;
  rule.experts = experts;
  rule.top_k = top_k;
  return rule;
}

}  // namespace

void check_rule(const RouterRule& rule) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::invalid_input, what); };
  if (rule.experts < 1) refuse("a router needs at least one expert");
  if (rule.top_k < 1 || rule.top_k > rule.experts)
    refuse(fmt::format("top_k {} must lie between 1 and the {} experts", rule.top_k, rule.experts));
  if (rule.weights == WeightRule::rows_by_sigmoid && rule.top_k != 1)
    refuse(
        fmt::format("Llama4's router scales the input row and needs top_k 1 (got {})", rule.top_k));
  if (rule.groups == -1) return;
  if (rule.groups < 1 || rule.experts % rule.groups != 0)
    refuse(
        fmt::format("{} experts do not divide into {} routing groups", rule.experts, rule.groups));
  const std::int64_t per_group = rule.experts / rule.groups;
  if (per_group < 2) refuse("a routing group is scored by its two best experts and needs two");
  if (rule.kept_groups < 1 || rule.kept_groups > rule.groups)
    refuse(fmt::format("topk_routing_group {} must lie between 1 and the {} groups",
                       rule.kept_groups, rule.groups));
  if (rule.kept_groups * per_group < rule.top_k)
    refuse(fmt::format("{} kept groups of {} experts cannot give top_k {}", rule.kept_groups,
                       per_group, rule.top_k));
}

RouterRule mixtral_rule(std::int64_t experts, std::int64_t top_k) { return plain(experts, top_k); }

RouterRule qwen3_rule(std::int64_t experts, std::int64_t top_k) {
  RouterRule rule = plain(experts, top_k);
  rule.normalise = true;
  return rule;
}

RouterRule gpt_oss_rule(std::int64_t experts, std::int64_t top_k) {
  RouterRule rule = plain(experts, top_k);
  rule.bias = true;
  return rule;
}

RouterRule gemma4_rule(std::int64_t experts, std::int64_t top_k, bool normalise) {
  RouterRule rule = plain(experts, top_k);
  rule.weights = WeightRule::softmax_of_all;
  rule.normalise = normalise;
  return rule;
}

RouterRule llama4_rule(std::int64_t experts) {
  RouterRule rule = plain(experts, 1);
  rule.weights = WeightRule::rows_by_sigmoid;
  return rule;
}

RouterRule deepseek2_rule(std::int64_t experts, std::int64_t top_k, float scale) {
  RouterRule rule = plain(experts, top_k);
  rule.score = Score::softmax;
  rule.weights = WeightRule::chosen_scores;
  rule.scale = scale;
  return rule;
}

RouterRule deepseek3_rule(std::int64_t experts, std::int64_t top_k, float scale,
                          std::int64_t groups, std::int64_t kept_groups) {
  RouterRule rule = plain(experts, top_k);
  rule.score = Score::sigmoid;
  rule.bias = true;
  rule.weights = WeightRule::chosen_scores;
  rule.normalise = true;
  rule.scale = scale;
  rule.groups = groups;
  rule.kept_groups = kept_groups;
  rule.keeps_pre_bias = true;
  return rule;
}

RouterRule deepseek4_rule(std::int64_t experts, std::int64_t top_k, float scale) {
  RouterRule rule = deepseek3_rule(experts, top_k, scale, -1, -1);
  rule.score = Score::sqrt_softplus;
  return rule;
}

RouterRule random_rule(std::int64_t experts, std::int64_t top_k) {
  RouterRule rule = plain(experts, top_k);
  rule.weights = WeightRule::chosen_scores;
  rule.random_ids = true;
  return rule;
}

}  // namespace meshsim
