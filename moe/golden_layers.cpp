// Golden behaviours of whole layers, on one rank and on many.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "moe/backward.hpp"
#include "moe/dense_matmul.hpp"
#include "moe/golden_check.hpp"
#include "moe/moe_layer.hpp"
#include "ranks/in_process_ranks.hpp"
#include "routing/local_permute.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// A V4 layer as a case gives it, on one rank.
struct V4Case {
  MoeConfig config;
  MoeWeights<float> weights;
  HashTable table;
  std::vector<std::int64_t> token_ids;
  Tensor<float> x;  // [B, S, d]
  bool hash = false;

  explicit V4Case(const GoldenCase& c) {
    const std::int64_t experts = c.integer("E"), d = c.integer("d"), width = c.integer("H");
    config.rule = deepseek4_rule(experts, c.integer("top_k"),
                                 static_cast<float>(c.real("routed_scaling_factor")));
    config.embedding = d;
    config.width = width;
    config.swiglu_limit = static_cast<float>(c.real("swiglu_limit"));
    const std::int64_t batch = c.integer("B"), sequence = c.integer("S");
    config.sequence = std::max<std::int64_t>(sequence, 1);  // no tokens make no sequences of 1
    x = c.tensor("x", {batch, sequence, d});
    weights.gate_kernel = c.tensor("gate_kernel", {d, experts});
    weights.experts.w0 = c.tensor("w0", {experts, d, width});
    weights.experts.w1 = c.tensor("w1", {experts, d, width});
    weights.experts.wo = c.tensor("wo", {experts, width, d});
    hash = c.configures("router") && c.text("router") == "hash";
    if (hash) {
      config.num_hash_layers = 1;
      config.vocab = c.inputs.contains("tid2eid") ? c.inputs.at("tid2eid").shape.at(0) : 0;
      table = {config.vocab, config.rule.top_k,
               c.ids("tid2eid", {config.vocab, config.rule.top_k})};
      token_ids = c.integers("input_ids", {batch, sequence});
    } else {
      const Tensor<float> bias = c.tensor("bias", {experts});
      weights.bias.assign(bias.flat().begin(), bias.flat().end());
    }
    check_config(config, 1, 1, x.rows());
  }

  const HashTable* hash_table() const { return hash ? &table : nullptr; }
};

Computed shaped(const std::string& name, const Tensor<float>& y, const Tensor<float>& like) {
  return computed(name, y, like.shape());
}

// Top-k rows are listed by expert id, hash rows in the order of the table.
void add_choice(Outputs& out, const Choice& choice, bool sort) {
  const std::int64_t tokens = choice.weights.rows(), k = choice.weights.width();
  std::vector<std::pair<ExpertId, float>> slots;
  std::vector<ExpertId> ids;
  Tensor<float> weights({tokens, k});
  for (std::int64_t t = 0; t < tokens; ++t) {
    slots.clear();
    for (std::int64_t j = 0; j < k; ++j)
      slots.emplace_back(choice.ids[static_cast<std::size_t>(t * k + j)], choice.weights.row(t)[j]);
    if (sort) std::sort(slots.begin(), slots.end());
    for (std::int64_t j = 0; j < k; ++j) {
      ids.push_back(slots[static_cast<std::size_t>(j)].first);
      weights.row(t)[j] = slots[static_cast<std::size_t>(j)].second;
    }
  }
  out.push_back(computed_integers("indices", std::span<const ExpertId>(ids), {tokens, k}));
  out.push_back(computed("weights", weights));
}

Outputs routed_moe_v4(const GoldenCase& c) {
  const V4Case v4(c);
  SingleRank rank;
  const MoeOutput<float> result =
      RoutedMoE<float>(v4.config, v4.weights, 0, v4.hash_table())(v4.x, v4.token_ids, rank.grid());
  Outputs out{shaped("output", result.y, v4.x)};
  add_choice(out, result.routed.choice, !v4.hash);
  out.push_back(computed_integers("group_sizes", result.slots.row(0), {result.slots.columns}));
  return out;
}

Outputs routed_and_shared_moe_v4(const GoldenCase& c) {
  V4Case v4(c);
  const std::int64_t d = v4.config.embedding;
  const Tensor<float> sw0 = c.tensor("sw0", {d, -1});
  v4.config.shared_width = sw0.width();
  const auto one = [](Tensor<float> matrix) {
    const Shape shape{1, matrix.shape()[0], matrix.shape()[1]};
    return std::move(matrix).reshaped(shape);
  };
  v4.weights.shared.w0 = one(sw0);
  v4.weights.shared.w1 = one(c.tensor("sw1", {d, sw0.width()}));
  v4.weights.shared.wo = one(c.tensor("swo", {sw0.width(), d}));
  SingleRank rank;
  Outputs out;
  for (const bool clamp : {true, false}) {
    v4.config.clamp_shared = clamp;
    const MoeOutput<float> result = RoutedAndSharedMoE<float>(
        v4.config, v4.weights, 0, v4.hash_table())(v4.x, v4.token_ids, rank.grid());
    out.push_back(shaped(clamp ? "output" : "output_shared_unclamped", result.y, v4.x));
  }
  const MoeOutput<float> routed =
      RoutedMoE<float>(v4.config, v4.weights, 0, v4.hash_table())(v4.x, v4.token_ids, rank.grid());
  out.push_back(shaped("routed", routed.y, v4.x));
  add_choice(out, routed.routed.choice, !v4.hash);
  return out;
}

Outputs routed_moe_v4_grad(const GoldenCase& c) {
  const V4Case v4(c);
  const MoeGradients gradients = routed_moe_gradients(
      v4.x, v4.token_ids, c.tensor("dy", v4.x.shape()), v4.weights, v4.config, v4.hash_table());
  return {shaped("output", gradients.output, v4.x),
          shaped("dx", gradients.dx, v4.x),
          computed("d_gate_kernel", gradients.d_gate_kernel),
          computed("d_w0", gradients.d_w0),
          computed("d_w1", gradients.d_w1),
          computed("d_wo", gradients.d_wo)};
}

Outputs gpt_oss_activation(const GoldenCase& c) {
  const std::string block = c.text("decoder_block");
  const bool clamps = block == "DEEPSEEK" || block == "DEEPSEEK3" || block == "DEEPSEEK4";
  const auto limit = static_cast<float>(c.real("limit"));
  Tensor<float> g = c.tensor("gate", {-1, -1});
  const Tensor<float> u = c.tensor("up", g.shape());
  if (block == "GPT_OSS") {
    activate(Activation::gpt_oss, limit, g, u);
  } else {
    activate(Activation::swiglu, clamps ? limit : 0.0F, g, u);
  }
  return {computed("out", g)};
}

Outputs dense_matmul_capacity(const GoldenCase& c) {
  const std::int64_t b = c.integer("B"), s = c.integer("S"), experts = c.integer("E");
  const std::int64_t d = c.integer("d"), width = c.integer("H"), k = c.integer("top_k");
  const double factor = c.real("capacity_factor");
  ExpertWeights<float> weights;
  weights.w0 = c.tensor("w0", {experts, d, width});
  weights.w1 = c.tensor("w1", {experts, d, width});
  weights.wo = c.tensor("wo", {experts, width, d});
  if (c.integer("mlp_bias") != 0) {
    weights.b0 = c.tensor("w0_bias", {experts, width});
    weights.b1 = c.tensor("w1_bias", {experts, width});
    weights.bo = c.tensor("wo_bias", {experts, d});
  }
  const RouterRule rule = mixtral_rule(experts, k);
  const GateOutput gate = score_gate(rule, c.tensor("gate_logits", {b, s, experts}), {});
  const Choice choice = choose_experts(rule, gate);
  const Tensor<float> x = c.tensor("x", {b, s, d});
  Outputs out{
      computed("output", dense_matmul(x, choice, s, weights, Activation::swiglu, 0.0F, factor)),
      computed_integers("indices", std::span<const ExpertId>(choice.ids), {b, s, k}),
      computed("weights", choice.weights, {b, s, k})};
  if (factor > 0) {
    const CapacityMasks masks = capacity_masks(choice, b, s, experts, factor);
    out.push_back(
        computed_integers("dispatch_mask", masks.dispatch.flat(), masks.dispatch.shape()));
    out.push_back(computed("combine_mask", masks.combine));
  }
  return out;
}

struct Sharded {
  Tensor<float> y;  // [B, S, d]
  CountMatrix slots;
};

// The case's layer on `ranks` ranks, each with its share of the sequences and of the experts.
Sharded run_sharded(const V4Case& v4, const MoeConfig& config, std::int64_t ranks) {
  Sharded result{Tensor<float>(v4.x.shape()), {}};
  const std::int64_t tokens = v4.x.rows() / ranks, local = config.rule.experts / ranks;
  std::mutex mutex;
  run_in_process(static_cast<int>(ranks), [&](Communicator& world) {
    std::vector<int> members;
    for (int rank = 0; rank < world.size(); ++rank) members.push_back(rank);
    Ledger ledger;
    RankGrid grid{Collectives(world, members, ledger), Collectives(world, {world.rank()}, ledger)};
    MoeWeights<float> weights;
    weights.gate_kernel = v4.weights.gate_kernel;
    weights.bias = v4.weights.bias;
    weights.experts = shard_of(v4.weights.experts, world.rank() * local, local);
    const Tensor<float> x = copied_rows(v4.x, world.rank() * tokens, tokens);
    const MoeOutput<float> out = RoutedMoE<float>(config, weights, 0)(x, {}, grid);
    const std::lock_guard lock(mutex);
    std::copy_n(out.y.data(), out.y.size(), result.y.row(world.rank() * tokens));
    if (world.rank() == 0) result.slots = out.slots;
  });
  return result;
}

void add_shape_facts(Outputs& out, const V4Case& v4, double factor, std::int64_t ranks,
                     const CountMatrix& slots) {
  const std::string suffix = fmt::format("_ep{}", ranks);
  const CountMatrix m = per_shard(slots, ranks);
  MoeConfig config = v4.config;
  config.ragged_buffer_factor = factor;
  const std::int64_t rows =
      expert_buffer_rows(exchange_of(config, ranks, 1, v4.x.rows() / ranks, 4, true));
  out.push_back(computed_integers("traffic" + suffix, std::span<const std::int64_t>(m.counts),
                                  {ranks, ranks}));
  out.push_back(computed_scalar("buffer_size" + suffix, static_cast<double>(rows)));
  std::vector<std::int64_t> sizes;  // [P, e_l], as far as they fit into the buffers
  for (std::int64_t p = 0; p < ranks; ++p) {
    const auto local = local_permute_received(slots, p, slots.columns / ranks, rows).group_sizes;
    sizes.insert(sizes.end(), local.begin(), local.end());
  }
  out.push_back(computed_integers("local_group_sizes" + suffix,
                                  std::span<const std::int64_t>(sizes),
                                  {ranks, slots.columns / ranks}));
}

Outputs ep_sharded_forward(const GoldenCase& c) {
  const V4Case v4(c);
  const std::int64_t b = c.integer("B"), s = c.integer("S"), k = c.integer("top_k");
  const double factor = c.real("ragged_buffer_factor");
  SingleRank single;
  const MoeOutput<float> alone =
      RoutedMoE<float>(v4.config, v4.weights, 0)(v4.x, {}, single.grid());
  Outputs out{
      computed_integers("indices", std::span<const ExpertId>(alone.routed.choice.ids), {b, s, k}),
      computed("weights", alone.routed.choice.weights, {b, s, k}), shaped("output", alone.y, v4.x)};
  for (const std::int64_t ranks : {1, 2, 4, 8}) {
    if (b % ranks != 0 || v4.config.rule.experts % ranks != 0) continue;
    for (int strategy = 0; strategy < 5; ++strategy) {
      MoeConfig config = v4.config;
      config.strategy = static_cast<Strategy>(strategy);
      config.num_moe_token_chunks = config.sequence;
      config.num_moe_emb_chunks = config.embedding;
      if (config.strategy == Strategy::batch_split && v4.x.rows() / ranks % 2 != 0) continue;
      const Sharded dropless = run_sharded(v4, config, ranks);
      out.push_back(shaped("output", dropless.y, v4.x));
      out.back().variant = fmt::format("{}, {} ranks", name(config.strategy), ranks);
      if (config.strategy == Strategy::ragged_all_to_all)
        add_shape_facts(out, v4, factor, ranks, dropless.slots);
      const bool ragged = config.strategy == Strategy::ragged_all_to_all;
      if (factor > 0 && (ragged || config.strategy == Strategy::ring_of_experts)) {
        config.ragged_buffer_factor = factor;
        const std::string key = fmt::format("output{}_ep{}", ragged ? "" : "_ring", ranks);
        out.push_back(shaped(key, run_sharded(v4, config, ranks).y, v4.x));
      }
    }
  }
  return out;
}

}  // namespace

std::span<const Behaviour> layer_behaviours() {
  static const std::vector<Behaviour> all{{"routed_moe_v4", routed_moe_v4},
                                          {"routed_and_shared_moe_v4", routed_and_shared_moe_v4},
                                          {"routed_moe_v4_grad", routed_moe_v4_grad},
                                          {"gpt_oss_activation", gpt_oss_activation},
                                          {"dense_matmul_capacity", dense_matmul_capacity},
                                          {"ep_sharded_forward", ep_sharded_forward}};
  return all;
}

}  // namespace meshsim
