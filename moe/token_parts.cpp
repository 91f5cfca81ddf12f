#include "moe/token_parts.hpp"

namespace meshsim {

RouteOutput chosen_tokens(const RouteOutput& all, std::int64_t top_k,
                          std::span<const std::int64_t> tokens) {
  RouteOutput part;
  part.gate.biased = chosen_rows(all.gate.biased, tokens);
  part.gate.pre_bias = chosen_rows(all.gate.pre_bias, tokens);
  part.choice.weights = chosen_rows(all.choice.weights, tokens);
  for (const std::int64_t t : tokens) {
    const auto first = all.choice.ids.begin() + t * top_k;
    part.choice.ids.insert(part.choice.ids.end(), first, first + top_k);
    if (!all.draw.tokens.empty())
      part.draw.tokens.push_back(all.draw.tokens[static_cast<std::size_t>(t)]);
  }
  part.draw.seed = all.draw.seed;
  part.expert_scale = all.expert_scale;
  part.global_tokens_per_rank = all.global_tokens_per_rank;
  return part;
}

std::vector<std::vector<std::int64_t>> parts_of(const MoeConfig& config, std::int64_t tokens) {
  const bool chunked = config.strategy == Strategy::token_chunks;
  if (!chunked && config.strategy != Strategy::batch_split) return {};
  const std::int64_t count = chunked ? config.num_moe_token_chunks : 2;
  std::vector<std::vector<std::int64_t>> parts(static_cast<std::size_t>(count));
  const std::int64_t length = config.sequence / count;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t part = chunked ? t % config.sequence / length : t % count;
    parts[static_cast<std::size_t>(part)].push_back(t);
  }
  return parts;
}

}  // namespace meshsim
