// Every number of an MoE layer, under the name of the configuration key that sets it.
#pragma once

#include <cstdint>

#include "moe/experts.hpp"
#include "moe/router.hpp"
#include "routing/strategy.hpp"
#include "routing/traffic.hpp"

namespace meshsim {

struct MoeConfig {
  // The layer
  RouterRule rule;                   // num_experts, num_experts_per_tok, routed_* (moe/router.hpp)
  std::int64_t embedding = 0;        // base_emb_dim, d
  std::int64_t width = 0;            // base_moe_mlp_dim, H
  std::int64_t shared_width = 0;     // shared_experts x base_moe_mlp_dim; 0: no shared expert
  std::int64_t vocab = 0;            // vocab_size: rows of a hash table
  std::int64_t num_hash_layers = 0;  // layers 0 .. num_hash_layers-1 route by token id
  Activation activation = Activation::swiglu;
  float swiglu_limit = 0;          // mlp_activations_limit, L; <= 0: no clamp
  bool clamp_shared = false;       // the shared expert clamps too (Hugging Face) or not (MaxText)
  bool float32_weight_sum = true;  // the k rows of a token are summed in float32
  // The schedule
  Strategy strategy = Strategy::ragged_all_to_all;
  double ragged_buffer_factor = -1;  // > 0: buffers of int(n f) rows, what does not fit is dropped
  std::int64_t num_moe_token_chunks = 1;  // of token_chunks; divides the sequence
  std::int64_t num_moe_emb_chunks = 1;    // of embedding_chunks; divides d
  bool logits_per_chunk = false;          // embedding chunks repeat the gather of the gate logits
  // Training
  std::int64_t sequence = 1;  // max_target_length, S; divides the tokens of a rank
  float load_balance_loss_weight = 0;
  float routed_bias_update_rate = 0;
  bool per_device_statistics = false;  // MaxText's quirk: loss and bias update see own tokens only

  bool hashes(std::int64_t layer_index) const { return layer_index < num_hash_layers; }
};

// Throws Error(invalid_input): what check_rule refuses; experts, widths or chunks that do not
// divide; a truncated buffer where MaxText has none; hash layers with a ring of experts.
void check_config(const MoeConfig& config, std::int64_t expert_ranks, std::int64_t tensor_ranks,
                  std::int64_t tokens_per_rank);

// The exchange of one layer, as the traffic prediction takes it.
LayerExchange exchange_of(const MoeConfig& config, std::int64_t expert_ranks,
                          std::int64_t tensor_ranks, std::int64_t tokens_per_rank,
                          std::int64_t element_bytes, bool distinct_experts);

}  // namespace meshsim
