// A decoder model as its parts: what each layer is made of, and which layers are alike.
//
// Symbols used in this folder:
//   D embedding width   V vocabulary   S sequence length   H query heads   K key/value heads
//   h head width        F MLP width    E experts           k experts per token
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model_specs/model_config.hpp"

namespace meshsim {

// Which earlier positions a query at position t sees (itself included).
struct Visibility {
  enum class Kind {
    full,     // all of 0..t
    sliding,  // the last `window`
    chunked,  // those in t's own chunk of `window` positions
  };
  Kind kind = Kind::full;
  std::int64_t window = 0;

  bool operator==(const Visibility&) const = default;
};

// Multi-head attention with K <= H key/value heads.
struct GroupedQueryAttention {
  enum class QkNorm { none, weighted, unweighted };
  std::int64_t heads, kv_heads, head_dim;
  bool bias = false;
  bool sinks = false;
  bool fused_qkv = false;
  QkNorm qk_norm = QkNorm::none;

  bool operator==(const GroupedQueryAttention&) const = default;
};

// Multi-head latent attention of DeepSeek-V2/V3.
struct LatentAttention {
  std::int64_t heads;
  std::int64_t q_lora;  // 0: queries are projected directly
  std::int64_t kv_lora, qk_nope, qk_rope, v_dim;
  std::int64_t unused_kv_width = 0;  // h of the inherited, unused key and value projections

  bool operator==(const LatentAttention&) const = default;
};

// Attention of DeepSeek-V4: one shared key/value head over a sliding window of raw tokens, plus
// compressed entries, each pooled from `ratio` tokens: all of them in HCA (heavily compressed
// attention), the indexer's top-k in CSA (compressed sparse attention).
struct CompressedAttention {
  enum class Kind { window_only, csa, hca };
  Kind kind;
  std::int64_t heads, head_dim;
  std::int64_t q_lora;
  std::int64_t o_groups, o_lora;  // grouped low-rank output projection
  std::int64_t window;
  std::int64_t ratio;  // 0: window only
  std::int64_t indexer_heads, indexer_dim, indexer_topk;

  bool operator==(const CompressedAttention&) const = default;
};

struct Attention {
  std::variant<GroupedQueryAttention, LatentAttention, CompressedAttention> form;
  Visibility visibility;  // of raw tokens

  bool operator==(const Attention&) const = default;
};

struct DenseMlp {
  std::int64_t width;
  std::int64_t up_projections;  // 2 when gated
  bool bias = false;

  bool operator==(const DenseMlp&) const = default;
};

struct MoeMlp {
  enum class Score { softmax, sigmoid, sqrt_softplus };
  enum class Routing { top_k, hash };
  enum class Bias { none, trained, buffer };  // buffer: moved by the sign update, no gradient
  std::int64_t experts, top_k, width;
  std::int64_t up_projections;
  std::int64_t shared_width;  // 0: no shared expert
  Score score = Score::softmax;
  Routing routing = Routing::top_k;
  Bias router_bias = Bias::none;
  bool router = true;  // false: routing comes from outside (micro-benchmark)
  bool expert_bias = false;
  bool hash_table_trained = false;

  bool operator==(const MoeMlp&) const = default;
};

using Mlp = std::variant<DenseMlp, MoeMlp>;

// Manifold-constrained hyper-connections: n residual streams, mixed at two sites per layer.
struct HyperConnections {
  std::int64_t streams;
  std::int64_t sinkhorn_iterations;
  bool head;  // a learned merge after the last layer

  bool operator==(const HyperConnections&) const = default;
};

// What some layers of the model have in common.
struct LayerKind {
  std::optional<Attention> attention;  // absent in a single MoE block
  Mlp mlp;

  bool operator==(const LayerKind&) const = default;
};

// "swa", "csa", "hca", "full", "sliding", "chunked"; "dense", "moe", "hash". An attention-less
// block is "none".
std::string attention_tag(const LayerKind& kind);
std::string mlp_tag(const LayerKind& kind);

struct ModelSpec {
  std::string name, alias, source;
  ModelConfig config;

  std::int64_t emb_dim = 0;
  std::int64_t vocab_size = 0;
  bool tied_embedding = false;         // logits reuse the input embedding
  std::int64_t learned_positions = 0;  // rows of a trained position table
  bool layer_norm = false;             // LayerNorm (scale and bias) instead of RMSNorm
  std::optional<HyperConnections> hyper_connections;
  std::int64_t mtp_layers = 0;

  std::vector<LayerKind> kinds;
  std::vector<int> layers;  // per decoder layer, the index of its kind

  const LayerKind& layer(std::size_t i) const { return kinds[static_cast<std::size_t>(layers[i])]; }
  std::size_t num_layers() const { return layers.size(); }
  bool is_deepseek4() const { return config.decoder_block == "deepseek4"; }
  // Of a multi-token-prediction block: the last layer, or, in DeepSeek-V4, one that attends to its
  // window only (published model, 2026-08).
  LayerKind mtp_kind() const;
  bool has_experts() const;

  bool operator==(const ModelSpec&) const = default;
};

// A model as its file states it: identity, and the two blocks of keys.
struct ModelSource {
  std::string name, alias, source, notes;
  Node maxtext;
  Node meshsim;
};

// Throws Error(invalid_input) with every fault: what read_model_config refuses, top_k > experts,
// heads that do not divide, ratios that do not match the layers, and so on.
ModelSpec make_model_spec(const ModelSource& source);

}  // namespace meshsim
