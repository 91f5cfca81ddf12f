// The keys of a MaxText configuration that describe a model, typed and in range.
//
// Names and defaults are MaxText's (base.yml, August 2026). The last group is what MaxText has no
// key for; a model file states it in its `meshsim:` block.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "inputs/node.hpp"

namespace meshsim {

struct ModelConfig {
  std::string decoder_block = "llama2";
  std::int64_t global_parameter_scale = 1;  // a power of two; scales the base_* sizes

  std::int64_t base_emb_dim = 2048;
  std::int64_t base_num_decoder_layers = 16;
  std::int64_t base_num_query_heads = 16;
  std::int64_t base_num_kv_heads = 16;
  std::int64_t head_dim = 128;
  std::int64_t base_mlp_dim = 7168;
  std::vector<std::string> mlp_activations = {"silu", "linear"};
  bool mlp_bias = false;
  std::int64_t vocab_size = 32000;
  bool logits_via_embedding = false;
  std::int64_t trainable_position_size = -1;
  std::int64_t mtp_num_layers = 0;

  std::string attention_type = "global";
  bool attention_bias = false;
  bool attention_sink = false;
  bool use_qk_norm = false;
  bool fused_qkv = false;
  std::int64_t sliding_window_size = 0;
  std::int64_t chunk_attn_window_size = 0;
  std::int64_t nope_layer_interval = -1;
  std::int64_t inhomogeneous_layer_cycle_interval = 1;

  std::int64_t q_lora_rank = 0;  // MLA and V4
  std::int64_t kv_lora_rank = 512;
  std::int64_t qk_nope_head_dim = 128;
  std::int64_t qk_rope_head_dim = 64;
  std::int64_t v_head_dim = 128;

  std::vector<std::int64_t> compress_ratios;  // V4: one per layer
  std::int64_t o_groups = 0;
  std::int64_t o_lora_rank = 0;
  std::int64_t indexer_head_dim = 128;
  std::int64_t indexer_n_heads = 64;
  std::int64_t indexer_topk = 2048;
  std::int64_t mhc_expansion_rate = 1;
  std::int64_t sinkhorn_iterations = 20;

  std::int64_t num_experts = 1;
  std::int64_t num_experts_per_tok = 1;
  std::int64_t base_moe_mlp_dim = -1;  // -1: base_mlp_dim
  std::int64_t shared_experts = 0;
  std::int64_t first_num_dense_layers = 0;
  std::int64_t interleave_moe_layer_step = 1;
  std::int64_t first_num_hash_layers = 0;
  std::string routed_score_func;
  bool routed_bias = false;
  double routed_bias_update_rate = 0;
  double routed_scaling_factor = 1;
  bool norm_topk_prob = false;
  std::int64_t n_routing_groups = -1;
  std::int64_t topk_routing_group = -1;
  double load_balance_loss_weight = 0;
  bool float32_gate_logits = false;
  double mlp_activations_limit = -1;

  // Without a MaxText key.
  std::string normalization = "rmsnorm";    // or "layernorm", which has a bias
  bool linear_bias = false;                 // a bias on every linear layer
  std::int64_t shared_expert_mlp_dim = -1;  // -1: shared_experts * moe_mlp_dim
  bool unused_kv_projections = false;       // stored and carried by the optimizer, never used
  bool hyper_connection_head = true;        // mHC streams merge by a learned head, not by a sum
  bool hash_table_trained = false;          // tid2eid is a parameter with optimizer state
  std::int64_t unrolled_suffix_layers = 0;  // layers after the scanned blocks
  bool single_moe_block = false;            // one MoE block alone, for micro-benchmarks

  bool operator==(const ModelConfig&) const = default;
};

// The MaxText keys that ModelConfig holds.
std::span<const std::string> model_config_keys();

// Reads a `maxtext:` and a `meshsim:` mapping over the defaults. Faults: an unknown key, a wrong
// type, a value out of range.
ModelConfig read_model_config(const Node& maxtext, const Node& meshsim, Diagnostics& faults);

}  // namespace meshsim
