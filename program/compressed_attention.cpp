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
void build_pooling(LayerBuilder& build, Name name, const CompressedAttention& a,
                   std::int64_t channels, Name input) {
  const std::string where = path + name + "/";
  build.activation("entries", entries_here(build, a), a.head_dim);
  build.stage("compressor");
  latent_linear(build, "compressor", {where + "kv_proj/kernel", where + "gate_proj/kernel"}, input,
                "pool_in", channels);
  build.vector("pool", {where + "position_bias", where + "kv_norm/scale"}, {"pool_in"}, {"entries"},
               {"pool_in"}, {"pool_in"});
}

// Chooses the entries that each query attends to. Only indices leave it: no gradient comes back.
// No rule splits its heads: each of the X devices that share tokens does all of it.
void build_indexer(LayerBuilder& build, const CompressedAttention& a, Name input) {
  const std::int64_t T = build.T();
  const std::int64_t S = build.batch().sequence;
  const std::int64_t rows = build.stream_rows();
  const std::int64_t columns = build.stream_columns();
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
  const std::vector<Matmul> from_stream{{2, rows, columns, 2 * a.indexer_dim},
                                        {1, rows, columns, a.indexer_heads}};
  const FlopCount from_latents(checked_product({2, T, a.q_lora, width}, "indexer FLOPs"));
  std::vector<Matmul> projections{{1, T, a.q_lora, width}};
  projections.insert(projections.end(), from_stream.begin(), from_stream.end());
  build.forward(
      build.compute("indexer_proj", OpKind::matmul, projections,
                    FlopCount(from_latents.value() / build.ways()) + flops_of(from_stream),
                    {"q_latn", input}, {"index_q", "index_kv", "index_weights"},
                    {where + "q_proj/kernel", where + "kv_proj/kernel", where + "gate_proj/kernel",
                     where + "weights_proj/kernel"}));
  const Names latents{"index_kv", "index_weights"};
  const std::int64_t numbers = 4 * a.indexer_dim + a.indexer_heads;
  if (!build.axes().embed.empty())
    build.forward(build.collective("indexer_sum", CollectiveKind::all_reduce, build.axes().embed,
                                   build.activation_bytes(rows, numbers), latents, latents));
  if (!build.axes().rows.empty())
    build.forward(build.collective("indexer_gather", CollectiveKind::all_gather, build.axes().rows,
                                   build.activation_bytes(T, numbers), latents, latents));
  build.vector("indexer_pool", {where + "position_bias", where + "kv_norm/scale"}, {"index_kv"},
               {"index_entries"}, {}, {});
  Name seen = "index_entries";
  if (split.keys > 1) {
    seen = "index_entries_all";
    const std::int64_t all = entries_here(build, a) * split.keys;
    build.activation(seen, all, a.indexer_dim);
    build.forward(build.collective("gather_index_entries", CollectiveKind::all_gather,
                                   split.by_keys, build.activation_bytes(all, a.indexer_dim),
                                   {"index_entries"}, {seen}));
  }
  const std::int64_t pairs =
      checked_product({build.batch().sequences, compressed_pairs(a.ratio, -1, S), a.indexer_heads},
                      "indexer pairs") /
      split.keys;
  build.forward(build.compute(
      "indexer_scores", OpKind::attention,
      {{build.batch().sequences * a.indexer_heads, build.batch().length, a.indexer_dim, entries}},
      FlopCount(checked_product({2, pairs, a.indexer_dim + 1}, "indexer FLOPs") / build.ways()),
      {"index_q", seen, "index_weights"}, {"index_head_scores", "index_scores"}));
  build.vector("indexer_top_k", {}, {"index_scores"}, {"mask"}, {}, {});
}

// The kernel of the output's groups rests with the rows of every group split like heads; a device
// needs all rows of the groups whose heads it has. Both passes move it, the backward one its
// gradient as well.
void regroup_output(LayerBuilder& build) {
  const Weight weight = build.local_weight(path + "o_a_proj/kernel");
  build.activation("o_a_regrouped", 1, weight.elements);
  build.forward(build.collective("regroup_output_weights", CollectiveKind::all_to_all,
                                 build.axes().within, weight.gathered, {}, {"o_a_regrouped"}));
  build.backward(build.collective("regroup_output_weights_back", CollectiveKind::all_to_all,
                                  build.axes().within, weight.gathered * 2, {},
                                  {"d_o_a_regrouped"}));
}

}  // namespace

void build_compressed(LayerBuilder& build, const Attention& attention, const CompressedAttention& a,
                      Name input, Name output) {
  using Kind = CompressedAttention::Kind;
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t heads = a.heads / build.ways();
  const std::int64_t groups = a.o_groups / build.ways();
  const std::int64_t q = heads * a.head_dim;
  build.activation("q_latn", T, a.q_lora);
  build.activation("q_up", T, q);
  build.activation("q", T, q);
  build.activation("kv", T, a.head_dim);
  build.stage("q_a");
  latent_linear(build, "q_a", {path + "wq_a/kernel"}, input, "q_lat", a.q_lora);
  build.vector("q_norm", {path + "q_norm/scale"}, {"q_lat"}, {"q_latn"}, {"q_lat"}, {"q_lat"});
  build.stage("q_b");
  build.linear("q_b", {path + "wq_b/kernel"}, {"q_latn"}, {"q_up"}, {{1, T, a.q_lora, q}});
  build.vector("q_rope", {}, {"q_up"}, {"q"}, {"q_up"}, {"q_up"});
  build.stage("kv");
  latent_linear(build, "kv", {path + "wkv/kernel"}, input, "kv_raw", a.head_dim);
  build.vector("kv_norm", {path + "kv_norm/scale"}, {"kv_raw"}, {"kv"}, {"kv_raw"}, {"kv_raw"});
  AttentionCore core{heads, a.head_dim,       a.head_dim,           {{"kv", T, a.head_dim}},
                     {},    {path + "sinks"}, attention.visibility, a.ratio};
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
  build.activation("o_lat", T, groups * a.o_lora);
  build.vector("rope_inverse", {}, {"context"}, {"attention_out"}, {}, {"context"});
  build.stage("o_a");
  if (build.ways() > 1) regroup_output(build);
  build.linear("o_a", {path + "o_a_proj/kernel"}, {"attention_out"}, {"o_lat"},
               {{groups, T, q / groups, a.o_lora}});
  build.stage("o_b");
  build.linear("o_b", {path + "o_b_proj/kernel"}, {"o_lat"}, {partial_output(build, output)},
               {{1, T, groups * a.o_lora, D}});
  leave_block(build, output);
}

}  // namespace meshsim
