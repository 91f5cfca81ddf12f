// Attention as MaxText executes it: projections, the core as `dot_product` or as a flash kernel,
// the output.
#include <algorithm>

#include "model_specs/visibility.hpp"
#include "program/context_parallel.hpp"
#include "program/layer_builder.hpp"
#include "program/streams.hpp"
#include "program/visited_blocks.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

const std::string path = "self_attention/";

// A symbol that holds keys, values or both, [rows, columns].
struct Keys {
  std::string symbol;
  std::int64_t rows, columns;
};

// The core: softmax(q k^T) v for `heads` heads, over raw tokens and compressed entries.
struct Core {
  std::int64_t heads, qk_width, v_width;
  std::vector<Keys> keys;
  Names extra;    // read only: masks
  Names weights;  // sinks
  Visibility visibility;
  std::int64_t ratio = 0;   // of compressed entries; 0: none
  std::int64_t limit = -1;  // most entries a query attends to; -1: all visible ones

  // Where heads are exchanged for tokens, other symbols than those of the layer.
  std::string queries = "q";
  std::string context = "context";
  Names passing = {}, passing_back = {};  // keys on their way round a ring

  Names key_symbols() const {
    Names names;
    for (const Keys& one : keys) names.push_back(one.symbol);
    return names;
  }
};

// Pairs of a query and a key that it sees, over all sequences and heads: this device's share.
std::int64_t visible(const LayerBuilder& build, const Core& core, const ContextSplit& split) {
  const std::int64_t S = build.batch().sequence;
  const std::int64_t raw = visible_pairs(core.visibility, S);
  const std::int64_t all =
      core.ratio == 0 ? raw : raw + compressed_pairs(core.ratio, core.limit, S);
  return checked_product({build.batch().sequences, all, core.heads}, "visible pairs") / split.keys;
}

Names with(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

// Logits of every query against every key, then masks.
void build_dot_product(LayerBuilder& build, const Core& core, const ContextSplit& split) {
  const std::int64_t S = build.batch().length;
  const std::int64_t whole = build.batch().sequence;
  const std::int64_t products = build.batch().sequences * core.heads;
  const std::int64_t keys = whole + (core.ratio == 0 ? 0 : whole / core.ratio);
  const std::int64_t pairs = visible(build, core, split);
  const FlopCount qk_flops(checked_product({2, pairs, core.qk_width}, "core FLOPs"));
  const FlopCount pv_flops(checked_product({2, pairs, core.v_width}, "core FLOPs"));
  const std::int64_t rows = checked_multiply(products, S, "attention rows");
  build.activation("logits", rows, keys);
  build.activation("probs", rows, keys);

  const Matmul qk{products, S, core.qk_width, keys};
  const Matmul pv{products, S, keys, core.v_width};
  const Names queries_and_keys = with({core.queries}, core.key_symbols());
  build.forward(
      build.compute("core_qk", OpKind::attention, {qk}, qk_flops, queries_and_keys, {"logits"}));
  build.backward(build.compute(
      "core_qk_back", OpKind::attention,
      {{products, S, keys, core.qk_width}, {products, keys, S, core.qk_width}}, qk_flops * 2,
      with({"d_logits"}, queries_and_keys), gradients_of(queries_and_keys)));
  build.vector("core_softmax", core.weights, with({"logits"}, core.extra), {"probs"}, {"probs"},
               {"logits"});
  const Names probs_and_keys = with({"probs"}, core.key_symbols());
  build.forward(
      build.compute("core_pv", OpKind::attention, {pv}, pv_flops, probs_and_keys, {"context"}));
  build.backward(build.compute(
      "core_pv_back", OpKind::attention,
      {{products, S, core.v_width, keys}, {products, keys, S, core.v_width}}, pv_flops * 2,
      with({"d_context"}, probs_and_keys), gradients_of(probs_and_keys)));
}

// The grid of one attention kernel: its blocks, those that hold a visible pair, over all heads.
struct KernelGrid {
  BlockShape block;
  std::int64_t blocks = 0;
};

KernelGrid kernel_grid(LayerBuilder& build, const Core& core, const ContextSplit& split,
                       const char* queries, const char* keys) {
  const ResolvedConfig& config = build.plan().config;
  const std::int64_t S = build.batch().sequence;
  const std::int64_t run = S / split.keys / (split.balanced ? 2 : 1);
  const BlockShape block{std::min(run, config.integer(queries)),
                         std::min(split.ring ? run : S, config.integer(keys))};
  const std::int64_t visited = most_visited_blocks(split, core.visibility, core.ratio, S, block);
  return {block,
          checked_product({build.batch().sequences, core.heads, visited}, "attention blocks")};
}

// One kernel over `grid`: per block, `qk` products as wide as the queries' heads and `pv` as wide
// as the values', and one pass of the logits through the softmax.
OpTemplate flash_kernel(LayerBuilder& build, const Core& core, std::string name,
                        const KernelGrid& grid, std::int64_t qk, std::int64_t pv, FlopCount flops,
                        Names reads, Names writes, const Names& gradients) {
  const BlockShape& block = grid.block;
  OpTemplate op = build.compute(
      std::move(name), OpKind::attention,
      {{checked_multiply(grid.blocks, qk, "products"), block.queries, core.qk_width, block.keys},
       {checked_multiply(grid.blocks, pv, "products"), block.queries, block.keys, core.v_width}},
      flops, std::move(reads), std::move(writes), core.weights, gradients);
  auto& work = std::get<Compute>(op.work);
  work.scores = checked_product({grid.blocks, block.queries, block.keys}, "attention scores");
  work.grid_steps = grid.blocks;
  return op;
}

// Flash kernels visit the blocks that hold a visible pair. The backward pass computes the logits
// again: 5 products in a fused kernel (QK^T, dP, dV, dQ, dK); in two kernels QK^T and dP twice: 4
// for the gradients of keys and values, 3 for that of the queries.
void build_flash(LayerBuilder& build, const Core& core, const ContextSplit& split) {
  const ResolvedConfig& config = build.plan().config;
  const std::int64_t pairs = visible(build, core, split);
  const FlopCount qk_flops(checked_product({2, pairs, core.qk_width}, "core FLOPs"));
  const FlopCount v_flops(checked_product({2, pairs, core.v_width}, "core FLOPs"));
  build.activation("lse", build.T() * split.heads, core.heads, DType::float32);

  const Names inputs = with(with({core.queries}, core.key_symbols()), core.extra);
  build.forward(flash_kernel(
      build, core, "core", kernel_grid(build, core, split, "sa_block_q", "sa_block_kv"), 1, 1,
      qk_flops + v_flops, with(inputs, core.passing), {core.context, "lse"}, {}));
  const Names kept =
      with(with(inputs, core.passing_back), {core.context, "lse", "d_" + core.context});
  const Names key_gradients = gradients_of(core.key_symbols());
  const KernelGrid keys_grid = kernel_grid(build, core, split, "sa_block_q_dkv", "sa_block_kv_dkv");
  const bool fused =
      config.boolean("use_tokamax_splash") || config.boolean("sa_use_fused_bwd_kernel");
  if (fused) {
    build.backward(flash_kernel(build, core, "core_back", keys_grid, 3, 2, (qk_flops + v_flops) * 2,
                                kept, with({"d_" + core.queries}, key_gradients), core.weights));
    return;
  }
  build.backward(flash_kernel(build, core, "core_back_queries",
                              kernel_grid(build, core, split, "sa_block_q_dq", "sa_block_kv_dq"), 2,
                              1, qk_flops, kept, {"d_" + core.queries}, core.weights));
  build.backward(flash_kernel(build, core, "core_back_keys", keys_grid, 2, 2,
                              qk_flops + v_flops * 2, kept, key_gradients, {}));
}

// All-to-all: [rows, columns] of `from`, with the tokens of one device and all its heads, to `to`
// with U times the tokens and a Uth of the heads; or back.
void exchange_heads(LayerBuilder& build, const ContextSplit& split, const std::string& name,
                    std::int64_t rows, std::int64_t columns, const std::string& from,
                    const std::string& to) {
  build.transfer(name, CollectiveKind::all_to_all, CollectiveKind::all_to_all, split.by_heads,
                 build.activation_bytes(rows, columns), from, to);
}

// U devices exchange tokens for heads: queries and keys before the core.
void enter_heads(LayerBuilder& build, const ContextSplit& split, Core& core) {
  const std::int64_t U = split.heads;
  const std::int64_t T = build.T();
  core.queries = "q_by_heads";
  core.context = "context_by_heads";
  build.activation(core.queries, T * U, core.heads * core.qk_width / U);
  exchange_heads(build, split, "queries_to_heads", T, core.heads * core.qk_width, "q",
                 core.queries);
  for (Keys& keys : core.keys) {
    const std::string by_heads = keys.symbol + "_by_heads";
    build.activation(by_heads, keys.rows * U, keys.columns / U);
    exchange_heads(build, split, "keys_to_heads", keys.rows, keys.columns, keys.symbol, by_heads);
    keys = {by_heads, keys.rows * U, keys.columns / U};
  }
  core.heads /= U;
  build.activation(core.context, T * U, core.heads * core.v_width);
}

// R devices gather each other's keys before the core.
void gather_keys(LayerBuilder& build, const ContextSplit& split, Core& core) {
  for (Keys& keys : core.keys) {
    const Keys all{keys.symbol + "_all", keys.rows * split.keys, keys.columns};
    build.activation(all.symbol, all.rows, all.columns);
    build.transfer("gather_keys", CollectiveKind::all_gather, CollectiveKind::reduce_scatter,
                   split.by_keys, build.activation_bytes(all.rows, all.columns), keys.symbol,
                   all.symbol);
    keys = all;
  }
}

// R devices pass their keys on R - 1 times, into `to`; backward, `copies` = 2 of them: keys and
// their gradients. A part is passed on before the next is multiplied: the published ring runs of
// Llama 3 8B (64 ranks, 65k and 131k tokens, 2025) cost 0.37 and 0.60 s more than the gathering
// ones, which visit as many blocks; 0.40 and 0.83 s is what these transfers take on one link.
OpTemplate pass_keys(LayerBuilder& build, const ContextSplit& split, const Keys& keys,
                     std::int64_t copies, const std::string& to) {
  const std::int64_t sent = checked_product({keys.rows, split.keys - 1, copies}, "rows of a ring");
  // One part used, one arriving; the core reads every part once.
  build.padded_activation(to, 2 * copies * keys.rows, sent, keys.columns);
  OpTemplate op = build.collective(copies == 1 ? "pass_keys" : "pass_keys_back",
                                   CollectiveKind::permute, split.by_keys,
                                   build.activation_bytes(sent, keys.columns), {keys.symbol}, {to});
  std::get<Collective>(op.work).rounds = split.keys - 1;
  return op;
}

void build_core(LayerBuilder& build, Core core) {
  const ContextSplit split = context_split(build.plan());
  const std::int64_t columns = core.heads * core.v_width;
  build.activation("context", build.T(), columns);
  if (split.devices() > 1) build.stage("core_exchange");
  if (split.heads > 1) enter_heads(build, split, core);
  if (split.keys > 1 && !split.ring) gather_keys(build, split, core);
  build.stage("core");
  std::vector<OpTemplate> passed_back;
  if (split.ring) {
    for (const Keys& keys : core.keys) {
      core.passing.push_back(keys.symbol + "_passing");
      core.passing_back.push_back(keys.symbol + "_passing_back");
      build.forward(pass_keys(build, split, keys, 1, core.passing.back()));
      passed_back.push_back(pass_keys(build, split, keys, 2, core.passing_back.back()));
    }
  }
  if (build.plan().config.text("attention") == "dot_product") {
    build_dot_product(build, core, split);
  } else {
    build_flash(build, core, split);
  }
  for (OpTemplate& op : passed_back) build.backward(std::move(op));
  if (split.heads > 1) {
    build.stage("core_return");
    exchange_heads(build, split, "context_from_heads", build.T(), columns, core.context, "context");
  }
}

// The output projection of `width` columns of context.
void build_output(LayerBuilder& build, std::int64_t width, const std::string& output) {
  build.stage("out");
  build.linear("out", {path + "out/kernel"}, {"context"}, {partial_output(build, output)},
               {{1, build.T(), width, build.plan().model.emb_dim}});
  leave_block(build, output);
}

void build_grouped_query(LayerBuilder& build, const Attention& attention,
                         const GroupedQueryAttention& a, const std::string& stream,
                         const std::string& output) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t heads = a.heads / build.ways();
  const std::int64_t q = heads * a.head_dim;
  const std::int64_t kv = a.kv_heads / build.ways() * a.head_dim;
  build.activation("q_up", T, q);
  build.activation("q", T, q);
  build.activation("kv_raw", T, 2 * kv);
  build.activation("kv", T, 2 * kv);
  build.stage("qkv");
  const std::string input = enter_block(build, stream);
  if (a.fused_qkv) {
    build.linear("qkv", {path + "qkv_proj/kernel"}, {input}, {"q_up", "kv_raw"},
                 {{1, T, D, q + 2 * kv}});
  } else {
    build.linear("query", {path + "query/kernel"}, {input}, {"q_up"}, {{1, T, D, q}});
    build.linear("key_value", {path + "key/kernel", path + "value/kernel"}, {input}, {"kv_raw"},
                 {{2, T, D, kv}});
  }
  Names weights;
  if (a.bias && a.fused_qkv) weights = {path + "qkv_proj/bias"};
  if (a.bias && !a.fused_qkv)
    weights = {path + "query/bias", path + "key/bias", path + "value/bias"};
  if (a.qk_norm == GroupedQueryAttention::QkNorm::weighted) {
    weights.insert(weights.end(), {path + "query_norm/scale", path + "key_norm/scale"});
  }
  // A rotation and a bias are linear: only a norm's backward pass reads what it was given.
  const bool normed = a.qk_norm != GroupedQueryAttention::QkNorm::none;
  build.vector("rope", weights, {"q_up", "kv_raw"}, {"q", "kv"},
               normed ? Names{"q_up", "kv_raw"} : Names{}, {"q_up", "kv_raw"});
  const Names sinks = a.sinks ? Names{path + "sinks"} : Names{};
  build_core(build,
             {heads, a.head_dim, a.head_dim, {{"kv", T, 2 * kv}}, {}, sinks, attention.visibility});
  build_output(build, q, output);
  if (a.bias) build.vector("out_bias", {path + "out/bias"}, {}, {output}, {}, {output});
}

void build_latent(LayerBuilder& build, const Attention& attention, const LatentAttention& a,
                  const std::string& input, const std::string& output) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t heads = a.heads / build.ways();
  const std::int64_t qk = a.qk_nope + a.qk_rope;
  build.activation("q_up", T, heads * qk);
  build.activation("q", T, heads * qk);
  if (a.q_lora > 0) {
    build.activation("q_latn", T, a.q_lora);
    build.stage("q_a");
    latent_linear(build, "q_a", path + "wq_a/kernel", input, "q_lat", a.q_lora);
    build.vector("q_norm", {path + "q_norm/scale"}, {"q_lat"}, {"q_latn"}, {"q_lat"}, {"q_lat"});
    build.stage("q_b");
    build.linear("q_b", {path + "wq_b/kernel"}, {"q_latn"}, {"q_up"},
                 {{1, T, a.q_lora, heads * qk}});
  } else {
    build.stage("query");
    build.linear("query", {path + "query/kernel"}, {enter_block(build, input)}, {"q_up"},
                 {{1, T, D, heads * qk}});
  }
  build.vector("q_rope", {}, {"q_up"}, {"q"}, {}, {"q_up"});
  build.activation("kv_latn", T, a.kv_lora + a.qk_rope);
  build.activation("kv_up", T, heads * (a.qk_nope + a.v_dim));
  build.activation("kv", T, heads * (qk + a.v_dim));
  build.stage("kv_a");
  latent_linear(build, "kv_a", path + "wkv_a/kernel", input, "kv_lat", a.kv_lora + a.qk_rope);
  build.vector("kv_norm", {path + "kv_norm/scale"}, {"kv_lat"}, {"kv_latn"}, {"kv_lat"},
               {"kv_lat"});
  build.stage("kv_b");
  build.linear("kv_b", {path + "wkv_b/kernel"}, {"kv_latn"}, {"kv_up"},
               {{1, T, a.kv_lora, heads * (a.qk_nope + a.v_dim)}});
  // The rotary part of the key is broadcast to all heads.
  build.vector("kv_rope", {}, {"kv_up", "kv_latn"}, {"kv"}, {}, {"kv_up", "kv_latn"});
  build_core(
      build,
      {heads, qk, a.v_dim, {{"kv", T, heads * (qk + a.v_dim)}}, {}, {}, attention.visibility});
  build_output(build, heads * a.v_dim, output);
}

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
  Core core{a.heads, a.head_dim,       a.head_dim,           {{"kv", T, a.head_dim}},
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

}  // namespace

void build_attention(LayerBuilder& build, const Attention& attention, const std::string& input,
                     const std::string& output) {
  if (const auto* gqa = std::get_if<GroupedQueryAttention>(&attention.form)) {
    build_grouped_query(build, attention, *gqa, input, output);
  } else if (const auto* mla = std::get_if<LatentAttention>(&attention.form)) {
    build_latent(build, attention, *mla, input, output);
  } else {
    build_compressed(build, attention, std::get<CompressedAttention>(attention.form), input,
                     output);
  }
}

}  // namespace meshsim
