#include "model_specs/model_config.hpp"

#include <fmt/format.h>

#include <array>

#include "inputs/fields.hpp"

namespace meshsim {
namespace {

// Beyond any model that a pod could hold, and small enough that products of two fit 64 bits.
constexpr std::int64_t most = std::int64_t{1} << 31;

const std::vector<std::string> decoder_blocks{
    "default", "llama2",    "mistral",  "mixtral",   "llama4",   "gpt3",    "gpt_oss",
    "qwen3",   "qwen3_moe", "deepseek", "deepseek4", "hunyuan3", "grug_moe"};
const std::vector<std::string> attention_types{"global", "local_sliding", "chunk", "mla",
                                               "compressed"};
const std::vector<std::string> score_functions{"", "softmax", "sigmoid", "sqrtsoftplus"};
const std::vector<std::string> normalizations{"rmsnorm", "layernorm"};

// Reads keys that may be absent. Each call names the key once, with its range.
class Reader {
 public:
  Reader(const Node& mapping, std::string path, Diagnostics& faults)
      : mapping_(mapping), faults_(faults), fields_(mapping, std::move(path), faults) {}

  void size(std::int64_t& value, const char* key, std::int64_t least = 1) {
    if (fields_.has(key)) value = fields_.integer(key, {least, most});
    names_.emplace_back(key);
  }
  // A size that may be -1, "unset".
  void optional_size(std::int64_t& value, const char* key, std::int64_t least = 1) {
    size(value, key, -1);
    if (value != -1 && value < least)
      fault(key, fmt::format("must be -1 or at least {} (got {})", least, value));
  }
  void flag(bool& value, const char* key) {
    if (fields_.has(key)) value = fields_.boolean(key);
    names_.emplace_back(key);
  }
  void real(double& value, const char* key, double least) {
    if (fields_.has(key)) value = fields_.real(key);
    if (!(value >= least)) fault(key, fmt::format("must be at least {} (got {})", least, value));
    names_.emplace_back(key);
  }
  void choice(std::string& value, const char* key, std::span<const std::string> choices) {
    if (fields_.has(key)) value = fields_.choice(key, choices);
    names_.emplace_back(key);
  }
  void integers(std::vector<std::int64_t>& values, const char* key) {
    if (fields_.has(key)) values = fields_.integers(key);
    names_.emplace_back(key);
  }
  void texts(std::vector<std::string>& values, const char* key) {
    names_.emplace_back(key);
    if (!fields_.has(key)) return;
    values.clear();
    const Node* list = fields_.node(key);
    for (const Node& item : list->items) values.push_back(item.text);
    if (list->kind != Node::Kind::sequence || values.empty() || values.size() > 2) {
      fault(key,
            fmt::format("must be a list of one or two activations (got {})", flow_text(*list)));
      values = {"silu", "linear"};
    }
  }
  void ignore(const char* key) {
    fields_.ignore(key);
    names_.emplace_back(key);
  }
  void finish() { fields_.finish(); }
  const std::vector<std::string>& names() const { return names_; }

 private:
  void fault(const char* key, std::string what) {
    const Node* node = mapping_.find(key);
    faults_.add({node == nullptr ? mapping_.where : node->where, key, std::move(what), {}});
  }

  const Node& mapping_;
  Diagnostics& faults_;
  Fields fields_;
  std::vector<std::string> names_;
};

void read_maxtext_keys(Reader& read, ModelConfig& c) {
  read.choice(c.decoder_block, "decoder_block", decoder_blocks);
  read.size(c.global_parameter_scale, "global_parameter_scale");
  read.size(c.base_emb_dim, "base_emb_dim");
  read.size(c.base_num_decoder_layers, "base_num_decoder_layers");
  read.size(c.base_num_query_heads, "base_num_query_heads");
  read.size(c.base_num_kv_heads, "base_num_kv_heads");
  read.size(c.head_dim, "head_dim");
  read.size(c.base_mlp_dim, "base_mlp_dim");
  read.texts(c.mlp_activations, "mlp_activations");
  read.flag(c.mlp_bias, "mlp_bias");
  read.size(c.vocab_size, "vocab_size");
  read.flag(c.logits_via_embedding, "logits_via_embedding");
  read.optional_size(c.trainable_position_size, "trainable_position_size");
  read.size(c.mtp_num_layers, "mtp_num_layers", 0);
  read.choice(c.attention_type, "attention_type", attention_types);
  read.flag(c.attention_bias, "attention_bias");
  read.flag(c.attention_sink, "attention_sink");
  read.flag(c.use_qk_norm, "use_qk_norm");
  read.flag(c.fused_qkv, "fused_qkv");
  read.size(c.sliding_window_size, "sliding_window_size", 0);
  read.size(c.chunk_attn_window_size, "chunk_attn_window_size", 0);
  read.optional_size(c.nope_layer_interval, "nope_layer_interval");
  read.size(c.inhomogeneous_layer_cycle_interval, "inhomogeneous_layer_cycle_interval");
  read.size(c.q_lora_rank, "q_lora_rank", 0);
  read.size(c.kv_lora_rank, "kv_lora_rank", 0);
  read.size(c.qk_nope_head_dim, "qk_nope_head_dim", 0);
  read.size(c.qk_rope_head_dim, "qk_rope_head_dim", 0);
  read.size(c.v_head_dim, "v_head_dim");
  read.integers(c.compress_ratios, "compress_ratios");
  read.size(c.o_groups, "o_groups", 0);
  read.size(c.o_lora_rank, "o_lora_rank", 0);
  read.size(c.indexer_head_dim, "indexer_head_dim");
  read.size(c.indexer_n_heads, "indexer_n_heads");
  read.size(c.indexer_topk, "indexer_topk");
  read.size(c.mhc_expansion_rate, "mhc_expansion_rate");
  read.size(c.sinkhorn_iterations, "sinkhorn_iterations", 0);
  read.size(c.num_experts, "num_experts");
  read.size(c.num_experts_per_tok, "num_experts_per_tok");
  read.optional_size(c.base_moe_mlp_dim, "base_moe_mlp_dim");
  read.size(c.shared_experts, "shared_experts", 0);
  read.size(c.first_num_dense_layers, "first_num_dense_layers", 0);
  read.size(c.interleave_moe_layer_step, "interleave_moe_layer_step");
  read.size(c.first_num_hash_layers, "first_num_hash_layers", 0);
  read.choice(c.routed_score_func, "routed_score_func", score_functions);
  read.flag(c.routed_bias, "routed_bias");
  read.real(c.routed_bias_update_rate, "routed_bias_update_rate", 0);
  read.real(c.routed_scaling_factor, "routed_scaling_factor", 0);
  read.flag(c.norm_topk_prob, "norm_topk_prob");
  read.optional_size(c.n_routing_groups, "n_routing_groups");
  read.optional_size(c.topk_routing_group, "topk_routing_group");
  read.real(c.load_balance_loss_weight, "load_balance_loss_weight", 0);
  read.flag(c.float32_gate_logits, "float32_gate_logits");
  read.real(c.mlp_activations_limit, "mlp_activations_limit", -1);
  // Stated by model files, of no consequence for shapes, bytes or FLOPs.
  for (const char* key : {"normalization_layer_epsilon", "rope_type", "rope_max_timescale",
                          "compressed_rope_max_timescale", "rope_factor", "beta_fast", "mscale",
                          "max_position_embeddings", "original_max_position_embeddings",
                          "temperature_tuning", "normalize_embedding_logits"}) {
    read.ignore(key);
  }
  // Settings of a run that some model files fix; the plan reads them.
  for (const char* key : {"opt_type", "use_iota_embed"}) read.ignore(key);
}

void read_own_keys(Reader& read, ModelConfig& c) {
  read.choice(c.normalization, "normalization", normalizations);
  read.flag(c.linear_bias, "linear_bias");
  read.optional_size(c.shared_expert_mlp_dim, "shared_expert_mlp_dim");
  read.flag(c.unused_kv_projections, "unused_kv_projections");
  read.flag(c.hyper_connection_head, "hyper_connection_head");
  read.flag(c.hash_table_trained, "hash_table_trained");
  read.size(c.unrolled_suffix_layers, "unrolled_suffix_layers", 0);
  read.flag(c.single_moe_block, "single_moe_block");
}

Node empty_mapping() {
  Node node;
  node.kind = Node::Kind::mapping;
  return node;
}

}  // namespace

std::span<const std::string> model_config_keys() {
  static const std::vector<std::string> keys = [] {
    Diagnostics none;
    const Node empty = empty_mapping();
    Reader read(empty, "", none);
    ModelConfig config;
    read_maxtext_keys(read, config);
    return read.names();
  }();
  return keys;
}

ModelConfig read_model_config(const Node& maxtext, const Node& meshsim, Diagnostics& faults) {
  ModelConfig config;
  Reader keys(maxtext, "", faults);
  read_maxtext_keys(keys, config);
  keys.finish();
  Reader own(meshsim, "meshsim", faults);
  read_own_keys(own, config);
  own.finish();
  return config;
}

}  // namespace meshsim
