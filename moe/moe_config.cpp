#include "moe/moe_config.hpp"

#include <fmt/format.h>

#include "units/error.hpp"

namespace meshsim {
namespace {

[[noreturn]] void refuse(std::string key, std::string what, std::string hint = {}) {
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{}, std::move(key), std::move(what), std::move(hint)});
}

void must_divide(std::int64_t divisor, std::int64_t number, const std::string& key,
                 const std::string& what) {
  if (divisor < 1 || number % divisor != 0)
    refuse(key, fmt::format("{} must divide {} {}", divisor, what, number));
}

}  // namespace

void check_config(const MoeConfig& config, std::int64_t expert_ranks, std::int64_t tensor_ranks,
                  std::int64_t tokens_per_rank) {
  check_rule(config.rule);
  must_divide(expert_ranks, config.rule.experts, "ranks", "the number of experts");
  must_divide(tensor_ranks, config.width, "tensor_ranks", "base_moe_mlp_dim");
  must_divide(tensor_ranks, config.embedding, "tensor_ranks", "base_emb_dim");
  must_divide(config.sequence, tokens_per_rank, "max_target_length", "the tokens of a rank");
  const Strategy strategy = config.strategy;
  if (strategy == Strategy::token_chunks)
    must_divide(config.num_moe_token_chunks, config.sequence, "num_moe_token_chunks",
                "max_target_length");
  if (strategy == Strategy::embedding_chunks)
    must_divide(config.num_moe_emb_chunks, config.embedding, "num_moe_emb_chunks", "base_emb_dim");
  if (strategy == Strategy::batch_split)
    must_divide(2, tokens_per_rank, "strategy", "into two microbatches the tokens of a rank,");
  if (config.ragged_buffer_factor > 0 && strategy != Strategy::ragged_all_to_all &&
      strategy != Strategy::ring_of_experts)
    refuse("ragged_buffer_factor",
           fmt::format("truncated buffers exist with ragged_all_to_all and ring_of_experts only "
                       "(got {})",
                       name(strategy)));
  if (config.num_hash_layers > 0 && gathers_logits(strategy))
    refuse("strategy",
           fmt::format("hash layers cannot run with {}: a ring chooses the experts of gathered "
                       "tokens anew, and the token ids are not gathered",
                       name(strategy)),
           "ragged_all_to_all or batch_split, or num_hash_layers=0");
}

LayerExchange exchange_of(const MoeConfig& config, std::int64_t expert_ranks,
                          std::int64_t tensor_ranks, std::int64_t tokens_per_rank,
                          std::int64_t element_bytes, bool distinct_experts) {
  LayerExchange layer;
  layer.strategy = config.strategy;
  layer.expert_ranks = expert_ranks;
  layer.tensor_ranks = tensor_ranks;
  layer.tokens = tokens_per_rank;
  layer.embedding = config.embedding;
  layer.experts = config.rule.experts;
  layer.top_k = config.rule.top_k;
  layer.element_bytes = element_bytes;
  layer.gate_bytes = config.rule.float32_gate ? 4 : 2;
  layer.weight_bytes = element_bytes;
  layer.gate_tables = config.rule.keeps_pre_bias ? 2 : 1;
  layer.chunks = config.strategy == Strategy::token_chunks       ? config.num_moe_token_chunks
                 : config.strategy == Strategy::embedding_chunks ? config.num_moe_emb_chunks
                                                                 : 1;
  layer.logits_per_chunk = config.logits_per_chunk;
  layer.buffer_factor = config.ragged_buffer_factor;
  layer.distinct_experts = distinct_experts;
  return layer;
}

}  // namespace meshsim
