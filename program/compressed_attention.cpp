#include "program/compressed_attention.hpp"

#include <algorithm>

#include "model_specs/visibility.hpp"
#include "program/attention_core.hpp"
#include "program/context_parallel.hpp"
#include "program/streams.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

const std::string path = "self_attention/";

// The entries of this device's tokens.
std::int64_t entries_here(const LayerBuilder& build, const CompressedAttention& a) {
  return std::max<std::int64_t>(build.T() / a.ratio, 1);
}

// Pools tokens into entries; returns nothing: symbols `entries` and what its backward needs.
void build_pooling(LayerBuilder& build, const std::string& name, const CompressedAttention& a,
                   std::int64_t channels, const std::string& input) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::string where = path + name + "/";
  build.activation("pool_in", T, 2 * channels);
  build.activation("entries", entries_here(build, a), a.head_dim);
  build.stage("compressor");
  build.linear("compressor", {where + "kv_proj/kernel", where + "gate_proj/kernel"}, {input},
               {"pool_in"}, {{2, T, D, channels}});
  build.vector("pool", {where + "position_bias", where + "kv_norm/scale"}, {"pool_in"}, {"entries"},
               {"pool_in"}, {"pool_in"});
}

// Chooses the entries that each query attends to. Only indices leave it: no gradient comes back.
void build_indexer(LayerBuilder& build, const CompressedAttention& a, const std::string& input) {
  const std::int64_t T = build.T();
  const std::int64_t S = build.batch().sequence;
  const std::int64_t D = build.plan().model.emb_dim;
  const ContextSplit split = context_split(build.plan());
  const std::int64_t width = a.indexer_heads * a.indexer_dim;
  const std::int64_t entries = std::max<std::int64_t>(S / a.ratio, 1);
  const std::string where = path + "csa_compressor/indexer/";
  build.activation("index_q", T, width);
  build.activation("index_kv", T, 4 * a.indexer_dim);
  build.activation("index_weights", T, a.indexer_heads);
  build.activation("index_entries", entries_here(build, a), a.indexer_dim);
  build.activation("index_head_scores", T, a.indexer_heads * entries, DType::float32);
  build.activation("index_scores", T, entries, DType::float32);
  build.activation("mask", T, entries);
  build.stage("indexer");
  const std::vector<Matmul> projections{
      {1, T, a.q_lora, width}, {2, T, D, 2 * a.indexer_dim}, {1, T, D, a.indexer_heads}};
  build.forward(build.compute("indexer_proj", OpKind::matmul, projections, flops_of(projections),
                              {"q_latn", input}, {"index_q", "index_kv", "index_weights"},
                              {where + "q_proj/kernel", where + "kv_proj/kernel",
                               where + "gate_proj/kernel", where + "weights_proj/kernel"}));
  build.vector("indexer_pool", {where + "position_bias", where + "kv_norm/scale"}, {"index_kv"},
               {"index_entries"}, {}, {});
  std::string seen = "index_entries";
  if (split.keys > 1) {
    seen = "index_entries_all";
    const std::int64_t rows = entries_here(build, a) * split.keys;
    build.activation(seen, rows, a.indexer_dim);
    build.forward(build.collective("gather_index_entries", CollectiveKind::all_gather,
                                   split.by_keys, build.activation_bytes(rows, a.indexer_dim),
                                   {"index_entries"}, {seen}));
  }
  const std::int64_t pairs =
      checked_product({build.batch().sequences, compressed_pairs(a.ratio, -1, S), a.indexer_heads},
                      "indexer pairs") /
      split.keys;
  build.forward(build.compute(
      "indexer_scores", OpKind::attention,
      {{build.batch().sequences * a.indexer_heads, build.batch().length, a.indexer_dim, entries}},
      FlopCount(checked_product({2, pairs, a.indexer_dim + 1}, "indexer FLOPs")),
      {"index_q", seen, "index_weights"}, {"index_head_scores", "index_scores"}));
  build.vector("indexer_top_k", {}, {"index_scores"}, {"mask"}, {}, {});
}

}  // namespace

void build_compressed(LayerBuilder& build, const Attention& attention, const CompressedAttention& a,
                      const std::string& input, const std::string& output) {
  using Kind = CompressedAttention::Kind;
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t q = a.heads * a.head_dim;
  build.activation("q_lat", T, a.q_lora);
  build.activation("q_latn", T, a.q_lora);
  build.activation("q_up", T, q);
  build.activation("q", T, q);
  build.activation("kv_raw", T, a.head_dim);
  build.activation("kv", T, a.head_dim);
  stream_activation(build, output);
  build.stage("q_a");
  build.linear("q_a", {path + "wq_a/kernel"}, {input}, {"q_lat"}, {{1, T, D, a.q_lora}});
  build.vector("q_norm", {path + "q_norm/scale"}, {"q_lat"}, {"q_latn"}, {"q_lat"}, {"q_lat"});
  build.stage("q_b");
  build.linear("q_b", {path + "wq_b/kernel"}, {"q_latn"}, {"q_up"}, {{1, T, a.q_lora, q}});
  build.vector("q_rope", {}, {"q_up"}, {"q"}, {"q_up"}, {"q_up"});
  build.stage("kv");
  build.linear("kv", {path + "wkv/kernel"}, {input}, {"kv_raw"}, {{1, T, D, a.head_dim}});
  build.vector("kv_norm", {path + "kv_norm/scale"}, {"kv_raw"}, {"kv"}, {"kv_raw"}, {"kv_raw"});
  AttentionCore core{a.heads, a.head_dim,       a.head_dim,           {{"kv", T, a.head_dim}},
                     {},      {path + "sinks"}, attention.visibility, a.ratio};
  if (a.kind == Kind::hca) build_pooling(build, "hca_compressor", a, a.head_dim, input);
  if (a.kind == Kind::csa) {
    build_pooling(build, "csa_compressor", a, 2 * a.head_dim, input);
    build_indexer(build, a, input);
    core.extra = {"mask"};
    core.limit = a.indexer_topk;
  }
  if (a.kind != Kind::window_only)
    core.keys.push_back({"entries", entries_here(build, a), a.head_dim});
  build_core(build, core);
  build.activation("attention_out", T, q);
  build.activation("o_lat", T, a.o_groups * a.o_lora);
  build.vector("rope_inverse", {}, {"context"}, {"attention_out"}, {}, {"context"});
  build.stage("o_a");
  build.linear("o_a", {path + "o_a_proj/kernel"}, {"attention_out"}, {"o_lat"},
               {{a.o_groups, T, q / a.o_groups, a.o_lora}});
  build.stage("o_b");
  build.linear("o_b", {path + "o_b_proj/kernel"}, {"o_lat"}, {output},
               {{1, T, a.o_groups * a.o_lora, D}});
}

}  // namespace meshsim
