#include "program/attention_core.hpp"

#include <algorithm>
#include <utility>

#include "model_specs/visibility.hpp"
#include "program/context_parallel.hpp"
#include "program/visited_blocks.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

using Core = AttentionCore;
using Keys = AttentionKeys;

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
OpTemplate flash_kernel(LayerBuilder& build, const Core& core, Name name, const KernelGrid& grid,
                        std::int64_t qk, std::int64_t pv, FlopCount flops, Names reads,
                        Names writes, const Names& gradients) {
  const BlockShape& block = grid.block;
  OpTemplate op = build.compute(
      name, OpKind::attention,
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
void exchange_heads(LayerBuilder& build, const ContextSplit& split, Name name, std::int64_t rows,
                    std::int64_t columns, Name from, Name to) {
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
    const Name by_heads = keys.symbol + "_by_heads";
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
                     std::int64_t copies, Name to) {
  const std::int64_t sent = checked_product({keys.rows, split.keys - 1, copies}, "rows of a ring");
  // One part used, one arriving; the core reads every part once.
  build.padded_activation(to, 2 * copies * keys.rows, sent, keys.columns);
  OpTemplate op = build.collective(copies == 1 ? "pass_keys" : "pass_keys_back",
                                   CollectiveKind::permute, split.by_keys,
                                   build.activation_bytes(sent, keys.columns), {keys.symbol}, {to});
  std::get<Collective>(op.work).rounds = split.keys - 1;
  return op;
}

}  // namespace

void build_core(LayerBuilder& build, AttentionCore core) {
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

}  // namespace meshsim
