#include "model_specs/model_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "units/checked.hpp"

namespace meshsim {
namespace {

// Records faults at the key that the source states, or at the file when the value is a default.
class Check {
 public:
  Check(const ModelSource& source, Diagnostics& faults) : source_(source), faults_(faults) {}

  void require(bool holds, const char* key, std::string what, std::string hint = {}) {
    if (holds) return;
    const Node* node = source_.maxtext.find(key);
    faults_.add({node == nullptr ? Location{source_.maxtext.where.file} : node->where, key,
                 std::move(what), std::move(hint)});
  }

 private:
  const ModelSource& source_;
  Diagnostics& faults_;
};

// MaxText's global_parameter_scale = 2^n: n steps go round-robin to heads and MLP, embedding,
// layers.
void scale_sizes(ModelConfig& c, Check& check) {
  const auto scale = static_cast<std::uint64_t>(c.global_parameter_scale);
  check.require(std::has_single_bit(scale), "global_parameter_scale",
                fmt::format("must be a power of two (got {})", scale));
  const int steps = std::countr_zero(scale);
  const int base = steps / 3;
  const int rest = steps % 3;
  const int wide = base + (rest > 0);
  c.base_num_query_heads <<= wide;
  c.base_num_kv_heads <<= wide;
  c.base_mlp_dim <<= wide;
  if (c.base_moe_mlp_dim > 0) c.base_moe_mlp_dim <<= wide;
  c.base_emb_dim <<= base + (rest > 1);
  c.base_num_decoder_layers <<= base;
}

Visibility visibility_of(const ModelConfig& c, std::int64_t layer) {
  using Kind = Visibility::Kind;
  if (c.decoder_block == "gpt_oss" && layer % 2 == 0) return {Kind::sliding, c.sliding_window_size};
  if (c.decoder_block == "llama4" && c.nope_layer_interval > 0 &&
      (layer + 1) % c.nope_layer_interval != 0) {
    return {Kind::chunked, c.chunk_attn_window_size};
  }
  if (c.attention_type == "compressed" || c.attention_type == "local_sliding") {
    return {Kind::sliding, c.sliding_window_size};
  }
  if (c.attention_type == "chunk") return {Kind::chunked, c.chunk_attn_window_size};
  return {};
}

GroupedQueryAttention grouped_query(const ModelConfig& c) {
  GroupedQueryAttention a{c.base_num_query_heads, c.base_num_kv_heads, c.head_dim};
  a.bias = c.attention_bias || c.linear_bias;
  a.sinks = c.attention_sink;
  a.fused_qkv = c.fused_qkv;
  if (c.use_qk_norm) {
    // Llama 4 normalises queries and keys by their L2 norm, without a weight.
    a.qk_norm = c.decoder_block == "llama4" ? GroupedQueryAttention::QkNorm::unweighted
                                            : GroupedQueryAttention::QkNorm::weighted;
  }
  return a;
}

CompressedAttention compressed(const ModelConfig& c, std::int64_t ratio) {
  constexpr std::int64_t csa_ratio = 4;
  CompressedAttention a{};
  a.kind = ratio == 0           ? CompressedAttention::Kind::window_only
           : ratio == csa_ratio ? CompressedAttention::Kind::csa
                                : CompressedAttention::Kind::hca;
  a.heads = c.base_num_query_heads;
  a.head_dim = c.head_dim;
  a.q_lora = c.q_lora_rank;
  a.o_groups = c.o_groups;
  a.o_lora = c.o_lora_rank;
  a.window = c.sliding_window_size;
  a.ratio = ratio;
  a.indexer_heads = c.indexer_n_heads;
  a.indexer_dim = c.indexer_head_dim;
  a.indexer_topk = c.indexer_topk;
  return a;
}

Attention attention_of(const ModelConfig& c, std::int64_t layer) {
  const Visibility visibility = visibility_of(c, layer);
  if (c.attention_type == "mla") {
    return {
        LatentAttention{c.base_num_query_heads, c.q_lora_rank, c.kv_lora_rank, c.qk_nope_head_dim,
                        c.qk_rope_head_dim, c.v_head_dim, c.unused_kv_projections ? c.head_dim : 0},
        visibility};
  }
  if (c.attention_type == "compressed") {
    return {compressed(c, c.compress_ratios[static_cast<std::size_t>(layer)]), visibility};
  }
  return {grouped_query(c), visibility};
}

MoeMlp moe_of(const ModelConfig& c, std::int64_t layer) {
  MoeMlp moe{};
  moe.experts = c.num_experts;
  moe.top_k = c.num_experts_per_tok;
  moe.width = c.base_moe_mlp_dim > 0 ? c.base_moe_mlp_dim : c.base_mlp_dim;
  moe.up_projections = static_cast<std::int64_t>(c.mlp_activations.size());
  if (c.shared_experts > 0) {
    moe.shared_width =
        c.shared_expert_mlp_dim > 0 ? c.shared_expert_mlp_dim : c.shared_experts * moe.width;
  }
  moe.score = c.routed_score_func == "sqrtsoftplus" ? MoeMlp::Score::sqrt_softplus
              : c.routed_score_func == "sigmoid"    ? MoeMlp::Score::sigmoid
                                                    : MoeMlp::Score::softmax;
  const bool v4 = c.decoder_block == "deepseek4";
  if (v4 && layer < c.first_num_hash_layers) moe.routing = MoeMlp::Routing::hash;
  if (c.routed_bias && moe.routing == MoeMlp::Routing::top_k) {
    moe.router_bias = v4 ? MoeMlp::Bias::buffer : MoeMlp::Bias::trained;
  }
  moe.router = !c.single_moe_block;
  moe.expert_bias = c.mlp_bias;
  moe.hash_table_trained = c.hash_table_trained && moe.routing == MoeMlp::Routing::hash;
  return moe;
}

Mlp mlp_of(const ModelConfig& c, std::int64_t layer) {
  const bool moe = c.num_experts > 1 && layer >= c.first_num_dense_layers &&
                   (layer + 1) % c.interleave_moe_layer_step == 0;
  if (moe) return moe_of(c, layer);
  return DenseMlp{c.base_mlp_dim, static_cast<std::int64_t>(c.mlp_activations.size()),
                  c.linear_bias || c.mlp_bias};
}

void check_attention(const ModelConfig& c, Check& check) {
  const std::int64_t heads = c.base_num_query_heads;
  check.require(heads % c.base_num_kv_heads == 0, "base_num_kv_heads",
                fmt::format("must divide the {} query heads (got {})", heads, c.base_num_kv_heads));
  const bool sliding = c.decoder_block == "gpt_oss" || c.attention_type == "local_sliding" ||
                       c.attention_type == "compressed";
  check.require(!sliding || c.sliding_window_size > 0, "sliding_window_size",
                "must be at least 1 for sliding-window attention (got 0)");
  const bool chunked =
      c.attention_type == "chunk" || (c.decoder_block == "llama4" && c.nope_layer_interval > 0);
  check.require(!chunked || c.chunk_attn_window_size > 0, "chunk_attn_window_size",
                "must be at least 1 for chunked attention (got 0)");
  if (c.attention_type != "compressed") {
    check.require(
        c.decoder_block != "deepseek4", "attention_type",
        fmt::format("must be compressed for the deepseek4 decoder (got {})", c.attention_type));
    return;
  }
  const auto layers = static_cast<std::size_t>(c.base_num_decoder_layers);
  const auto mtp = static_cast<std::size_t>(c.mtp_num_layers);
  const std::size_t ratios = c.compress_ratios.size();
  check.require(
      ratios >= layers && ratios <= layers + std::max<std::size_t>(mtp, 1), "compress_ratios",
      fmt::format("must have one entry per layer (got {} for {} layers)", ratios, layers));
  for (const std::int64_t ratio : c.compress_ratios) {
    check.require(
        ratio == 0 || ratio == 4 || ratio == 128, "compress_ratios",
        fmt::format("entries must be 0 (window only), 4 (CSA) or 128 (HCA) (got {})", ratio));
  }
  check.require(c.q_lora_rank > 0, "q_lora_rank",
                "must be at least 1 for compressed attention (got 0)");
  check.require(c.o_lora_rank > 0, "o_lora_rank",
                "must be at least 1 for compressed attention (got 0)");
  check.require(
      c.o_groups > 0 && (heads * c.head_dim) % std::max<std::int64_t>(c.o_groups, 1) == 0,
      "o_groups",
      fmt::format("must divide heads x head_dim = {} (got {})", heads * c.head_dim, c.o_groups));
}

void check_mlp(const ModelConfig& c, Check& check) {
  check.require(
      c.num_experts_per_tok <= c.num_experts, "num_experts_per_tok",
      fmt::format("a token cannot choose {} of {} experts", c.num_experts_per_tok, c.num_experts),
      fmt::format("at most num_experts={}", c.num_experts));
  check.require(c.first_num_dense_layers <= c.base_num_decoder_layers, "first_num_dense_layers",
                fmt::format("must be at most the {} layers (got {})", c.base_num_decoder_layers,
                            c.first_num_dense_layers));
  check.require(c.first_num_hash_layers <= c.base_num_decoder_layers, "first_num_hash_layers",
                fmt::format("must be at most the {} layers (got {})", c.base_num_decoder_layers,
                            c.first_num_hash_layers));
  check.require(
      c.n_routing_groups == -1 || c.num_experts % c.n_routing_groups == 0, "n_routing_groups",
      fmt::format("must divide the {} experts (got {})", c.num_experts, c.n_routing_groups));
  constexpr std::int64_t most_layers = 10'000;
  check.require(c.base_num_decoder_layers <= most_layers, "base_num_decoder_layers",
                fmt::format("must be at most {} (got {})", most_layers, c.base_num_decoder_layers));
}

int index_of(std::vector<LayerKind>& kinds, const LayerKind& kind) {
  const auto found = std::find(kinds.begin(), kinds.end(), kind);
  if (found != kinds.end()) return static_cast<int>(found - kinds.begin());
  kinds.push_back(kind);
  return static_cast<int>(kinds.size()) - 1;
}

}  // namespace

std::string attention_tag(const LayerKind& kind) {
  if (!kind.attention) return "none";
  if (const auto* v4 = std::get_if<CompressedAttention>(&kind.attention->form)) {
    switch (v4->kind) {
      case CompressedAttention::Kind::window_only: return "swa";
      case CompressedAttention::Kind::csa: return "csa";
      case CompressedAttention::Kind::hca: return "hca";
    }
  }
  switch (kind.attention->visibility.kind) {
    case Visibility::Kind::full: return "full";
    case Visibility::Kind::sliding: return "sliding";
    case Visibility::Kind::chunked: return "chunked";
  }
  return "";
}

std::string mlp_tag(const LayerKind& kind) {
  const auto* moe = std::get_if<MoeMlp>(&kind.mlp);
  if (moe == nullptr) return "dense";
  return moe->routing == MoeMlp::Routing::hash ? "hash" : "moe";
}

LayerKind ModelSpec::mtp_kind() const {
  LayerKind kind = layer(num_layers() - 1);
  if (is_deepseek4()) {
    auto& attention = std::get<CompressedAttention>(kind.attention->form);
    attention.kind = CompressedAttention::Kind::window_only;
    attention.ratio = 0;
  }
  return kind;
}

bool ModelSpec::has_experts() const {
  return std::any_of(kinds.begin(), kinds.end(), [](const LayerKind& kind) {
    return std::holds_alternative<MoeMlp>(kind.mlp);
  });
}

ModelSpec make_model_spec(const ModelSource& source) {
  Diagnostics faults;
  ModelSpec spec;
  spec.name = source.name;
  spec.alias = source.alias;
  spec.source = source.source;
  spec.config = read_model_config(source.maxtext, source.meshsim, faults);
  faults.throw_if_any();

  ModelConfig& c = spec.config;
  Check check(source, faults);
  scale_sizes(c, check);
  faults.throw_if_any();
  check_attention(c, check);
  check_mlp(c, check);
  faults.throw_if_any();

  spec.emb_dim = c.base_emb_dim;
  spec.vocab_size = c.vocab_size;
  spec.tied_embedding = c.logits_via_embedding;
  spec.learned_positions = std::max<std::int64_t>(c.trainable_position_size, 0);
  spec.layer_norm = c.normalization == "layernorm";
  spec.mtp_layers = c.mtp_num_layers;
  if (c.decoder_block == "deepseek4" && c.mhc_expansion_rate > 1) {
    spec.hyper_connections =
        HyperConnections{c.mhc_expansion_rate, c.sinkhorn_iterations, c.hyper_connection_head};
  }
  if (c.single_moe_block) {
    spec.layers.push_back(index_of(spec.kinds, LayerKind{std::nullopt, moe_of(c, 0)}));
    return spec;
  }
  for (std::int64_t i = 0; i < c.base_num_decoder_layers; ++i) {
    spec.layers.push_back(index_of(spec.kinds, LayerKind{attention_of(c, i), mlp_of(c, i)}));
  }
  return spec;
}

}  // namespace meshsim
