#include "model_specs/op_builder.hpp"
#include "model_specs/visibility.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::vector<Op> grouped_query_ops(std::int64_t D, const Attention& attention,
                                  const GroupedQueryAttention& a, const Workload& load) {
  const std::int64_t S = load.sequence_length;
  const std::int64_t q = a.heads * a.head_dim;
  const std::int64_t kv = a.kv_heads * a.head_dim;
  std::vector<Op> ops;
  if (a.fused_qkv) {
    ops.push_back(matmul_op("qkv", {{1, S, D, q + 2 * kv}}, load));
  } else {
    ops.push_back(matmul_op("query", {{1, S, D, q}}, load));
    ops.push_back(matmul_op("key", {{1, S, D, kv}}, load));
    ops.push_back(matmul_op("value", {{1, S, D, kv}}, load));
  }
  ops.push_back(attention_op("core", visible_pairs(attention.visibility, S), a.heads, a.head_dim,
                             a.head_dim, checked_multiply(S, 2 * q + 2 * kv, "core bytes"), load));
  ops.push_back(matmul_op("out", {{1, S, q, D}}, load));
  return ops;
}

std::vector<Op> latent_ops(std::int64_t D, const Attention& attention, const LatentAttention& a,
                           const Workload& load) {
  const std::int64_t S = load.sequence_length;
  const std::int64_t qk = a.qk_nope + a.qk_rope;
  std::vector<Op> ops;
  if (a.q_lora > 0) {
    ops.push_back(matmul_op("q_a", {{1, S, D, a.q_lora}}, load));
    ops.push_back(matmul_op("q_b", {{1, S, a.q_lora, a.heads * qk}}, load));
  } else {
    ops.push_back(matmul_op("query", {{1, S, D, a.heads * qk}}, load));
  }
  ops.push_back(matmul_op("kv_a", {{1, S, D, a.kv_lora + a.qk_rope}}, load));
  ops.push_back(matmul_op("kv_b", {{1, S, a.kv_lora, a.heads * (a.qk_nope + a.v_dim)}}, load));
  ops.push_back(attention_op("core", visible_pairs(attention.visibility, S), a.heads, qk, a.v_dim,
                             checked_product({S, a.heads, 2 * qk + 2 * a.v_dim}, "core bytes"),
                             load));
  ops.push_back(matmul_op("out", {{1, S, a.heads * a.v_dim, D}}, load));
  return ops;
}

// The indexer scores every visible entry: per head a dot product of `dim`, a ReLU and a weighted
// sum. MaxText uses only the chosen indices, so no gradient flows back into it.
void append_indexer(std::vector<Op>& ops, std::int64_t D, const CompressedAttention& a,
                    const Workload& load) {
  const std::int64_t S = load.sequence_length;
  const std::int64_t width = a.indexer_heads * a.indexer_dim;
  ops.push_back(without_backward(matmul_op(
      "indexer_proj",
      {{1, S, a.q_lora, width}, {2, S, D, 2 * a.indexer_dim}, {1, S, D, a.indexer_heads}}, load)));
  const std::int64_t pairs = compressed_pairs(a.ratio, -1, S);
  Op scores = attention_op("indexer_scores", pairs, a.indexer_heads, a.indexer_dim, 1,
                           checked_add(checked_multiply(S, width + a.indexer_dim, "indexer bytes"),
                                       pairs, "indexer bytes"),
                           load);
  ops.push_back(without_backward(std::move(scores)));
}

std::vector<Op> compressed_ops(std::int64_t D, const Attention& attention,
                               const CompressedAttention& a, const Workload& load) {
  using Kind = CompressedAttention::Kind;
  const std::int64_t S = load.sequence_length;
  const std::int64_t q = a.heads * a.head_dim;
  std::vector<Op> ops{matmul_op("q_a", {{1, S, D, a.q_lora}}, load),
                      matmul_op("q_b", {{1, S, a.q_lora, q}}, load),
                      matmul_op("kv", {{1, S, D, a.head_dim}}, load)};
  if (a.kind != Kind::window_only) {
    const std::int64_t channels = a.kind == Kind::csa ? 2 * a.head_dim : a.head_dim;
    ops.push_back(matmul_op("compressor", {{2, S, D, channels}}, load));
  }
  if (a.kind == Kind::csa) append_indexer(ops, D, a, load);
  const std::int64_t window = visible_pairs(attention.visibility, S);
  ops.push_back(attention_op(a.kind == Kind::window_only ? "core" : "core_window", window, a.heads,
                             a.head_dim, a.head_dim,
                             checked_multiply(S, 2 * q + a.head_dim, "core bytes"), load));
  if (a.kind != Kind::window_only) {
    const std::int64_t limit = a.kind == Kind::csa ? a.indexer_topk : -1;
    ops.push_back(attention_op("core_compressed", compressed_pairs(a.ratio, limit, S), a.heads,
                               a.head_dim, a.head_dim,
                               checked_multiply(S / a.ratio, a.head_dim, "core bytes"), load));
  }
  ops.push_back(matmul_op("o_a", {{a.o_groups, S, q / a.o_groups, a.o_lora}}, load));
  ops.push_back(matmul_op("o_b", {{1, S, a.o_groups * a.o_lora, D}}, load));
  return ops;
}

}  // namespace

std::vector<Op> attention_ops(const ModelSpec& spec, const Attention& attention,
                              const Workload& load) {
  const std::int64_t D = spec.emb_dim;
  if (const auto* gqa = std::get_if<GroupedQueryAttention>(&attention.form)) {
    return grouped_query_ops(D, attention, *gqa, load);
  }
  if (const auto* mla = std::get_if<LatentAttention>(&attention.form))
    return latent_ops(D, attention, *mla, load);
  return compressed_ops(D, attention, std::get<CompressedAttention>(attention.form), load);
}

std::vector<Op> mlp_ops(const ModelSpec& spec, const Mlp& mlp, const Workload& load) {
  const std::int64_t S = load.sequence_length;
  const std::int64_t D = spec.emb_dim;
  if (const auto* dense = std::get_if<DenseMlp>(&mlp)) {
    return {matmul_op("mlp", {{dense->up_projections, S, D, dense->width}, {1, S, dense->width, D}},
                      load)};
  }
  const auto& moe = std::get<MoeMlp>(mlp);
  std::vector<Op> ops;
  if (moe.router) ops.push_back(matmul_op("router", {{1, S, D, moe.experts}}, load));
  const std::int64_t rows = checked_multiply(S, moe.top_k, "routed rows");
  ops.push_back(grouped_matmul_op(
      "routed", {{moe.up_projections, rows, D, moe.width}, {1, rows, moe.width, D}}, moe.experts,
      load));
  if (moe.shared_width > 0) {
    ops.push_back(matmul_op(
        "shared", {{moe.up_projections, S, D, moe.shared_width}, {1, S, moe.shared_width, D}},
        load));
  }
  return ops;
}

}  // namespace meshsim
