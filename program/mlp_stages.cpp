// Dense MLPs and mixture-of-experts blocks as MaxText executes them.
//
//   n = T k slots of one device     P expert-parallel devices     E / P local experts
#include <fmt/format.h>

#include <algorithm>

#include "program/layer_builder.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

const std::string block = "mlp/MoeBlock_0/";

Names up_names(const std::string& path, std::int64_t up_projections, const char* suffix) {
  if (up_projections == 1) return {path + "wi" + suffix};
  return {path + "wi_0" + suffix, path + "wi_1" + suffix};
}

// An MLP on every token; the activation function is fused into the second product.
void build_dense(LayerBuilder& build, const std::string& path, const DenseMlp& mlp,
                 const std::string& name, const std::string& input, const std::string& output) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::string hidden = name + "_hidden";
  build.activation(hidden, T, mlp.up_projections * mlp.width);
  build.activation(output, T, D);
  build.linear(name + "_up", up_names(path, mlp.up_projections, "/kernel"), {input}, {hidden},
               {{mlp.up_projections, T, D, mlp.width}});
  if (mlp.bias)
    build.vector(name + "_up_bias", up_names(path, mlp.up_projections, "/bias"), {}, {hidden}, {},
                 {hidden});
  build.linear(name + "_down", {path + "wo/kernel"}, {hidden}, {output}, {{1, T, mlp.width, D}});
  if (mlp.bias) build.vector(name + "_down_bias", {path + "wo/bias"}, {}, {output}, {}, {output});
}

void build_shared(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  build_dense(build, "mlp/shared_experts/", DenseMlp{moe.shared_width, moe.up_projections},
              "shared", input, "shared_out");
}

// Scores and choices of `tokens` tokens, from `logits` to `routing`: expert ids and weights.
// `beside` is read as well, in the forward pass.
void build_choice(LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens,
                  const std::string& logits, const std::string& routing, Names beside = {}) {
  build.activation(routing, tokens, 2 * moe.top_k, DType::float32);
  const Names weights =
      moe.router_bias == MoeMlp::Bias::trained ? Names{block + "gate/bias"} : Names{};
  beside.push_back(logits);
  build.vector("route", weights, beside, {routing}, {logits}, {logits});
}

void build_router(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  build.activation("router_logits", build.T(), moe.experts);
  build.stage("router");
  build.linear("router", {block + "gate/kernel"}, {input}, {"router_logits"},
               {{1, build.T(), build.plan().model.emb_dim, moe.experts}});
}

// Rows that a permutation of a buffer moves: all of it, unless a ragged sort stops after `rows`.
std::int64_t moved_rows(const LayerBuilder& build, std::int64_t rows, std::int64_t buffer_rows) {
  return build.plan().config.boolean("use_ragged_sort") ? rows : buffer_rows;
}

// Expert products on `rows` routed rows that lie in buffers of `buffer_rows`: rows_in -> rows_out.
// They touch those rows only, whatever permutes the buffers before and after.
void build_experts(LayerBuilder& build, const MoeMlp& moe, std::int64_t rows,
                   std::int64_t buffer_rows) {
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t F = moe.width;
  const std::int64_t local = moe.experts / build.plan().mesh.size("expert");
  const std::int64_t tile = build.plan().config.integer("wi_tile_fwd_batch_seq");
  build.padded_activation("rows_in", buffer_rows, rows, D);
  build.padded_activation("expert_up", buffer_rows, rows, moe.up_projections * F);
  build.padded_activation("expert_hidden", buffer_rows, rows, F);
  build.padded_activation("rows_out", buffer_rows, rows, D);
  build.stage("experts_up");
  build.grouped_linear("gmm_up", up_names(block, moe.up_projections, ""), "rows_in", {"expert_up"},
                       {{moe.up_projections, rows, D, F}}, local, tile);
  const Names up_bias = moe.expert_bias ? up_names(block, moe.up_projections, "_bias") : Names{};
  build.vector("expert_activation", up_bias, {"expert_up"}, {"expert_hidden"}, {"expert_up"},
               {"expert_up"});
  build.stage("experts_down");
  build.grouped_linear("gmm_down", {block + "wo"}, "expert_hidden", {"rows_out"}, {{1, rows, F, D}},
                       local, tile);
  if (moe.expert_bias)
    build.vector("gmm_down_bias", {block + "wo_bias"}, {}, {"rows_out"}, {}, {"rows_out"});
}

// Every expert of the device group is here: rows are sorted by expert, and back.
void build_local(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  const std::int64_t n = checked_multiply(build.T(), moe.top_k, "slots");
  const std::int64_t D = build.plan().model.emb_dim;
  build_choice(build, moe, build.T(), "router_logits", "routing");
  build.activation("rows_in", n, D);
  build.activation("routed_out", build.T(), D);
  build.stage("permute");
  build.vector("permute", {}, {input, "routing"}, {"rows_in"}, {}, {input});
  build_experts(build, moe, n, n);
  build.stage("unpermute");
  build.vector("unpermute", {}, {"rows_out", "routing"}, {"routed_out"}, {"rows_out", "routing"},
               {"rows_out", "routing"});
  if (moe.shared_width > 0) {
    build.stage("shared");
    build_shared(build, moe, input);
  }
}

// Rows that the receive buffer of the ragged all-to-all holds: enough for any routing, or
// ragged_buffer_factor.
std::int64_t receive_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t n,
                          std::int64_t P) {
  const double factor = build.plan().config.real("ragged_buffer_factor");
  if (factor > 0) return static_cast<std::int64_t>(static_cast<double>(n) * factor);
  // A token puts at most min(k, E/P) of its slots on one device: n min(P, E/k) rows in all.
  return std::min(n * P, n * moe.experts / moe.top_k);
}

// Rows travel to the devices of their experts and back. The shared expert needs no rows: it runs
// beside the dispatch.
void build_ragged_all_to_all(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t n = checked_multiply(build.T(), moe.top_k, "slots");
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t R = std::max(n, receive_rows(build, moe, n, P));
  const std::vector<std::string> axes{"expert"};
  const Bytes rows = Bytes(checked_multiply(n, D, "routed rows")) *
                     element_bytes(build.plan().training.activations);
  build_choice(build, moe, build.T(), "router_logits", "routing");
  build.activation("sent", n, D);
  const std::int64_t moved = moved_rows(build, n, R);
  build.padded_activation("received", R, moved, D);
  build.padded_activation("rows_in", R, moved, D);
  build.activation("shard_counts", 1, P, DType::int32);
  build.activation("expert_counts", 1, P * moe.experts, DType::int32);

  build.stage("permute");
  build.vector("permute", {}, {input, "routing"}, {"sent"}, {}, {input});
  build.stage("dispatch");
  if (moe.shared_width > 0) build_shared(build, moe, input);
  build.forward_beside(build.collective("shard_counts", CollectiveKind::all_gather, axes,
                                        Bytes(4 * P), {"routing"}, {"shard_counts"}));
  build.forward_beside(build.collective("dispatch", CollectiveKind::all_to_all, axes, rows,
                                        {"sent", "shard_counts"}, {"received"}));
  build.forward_beside(build.collective("expert_counts", CollectiveKind::all_gather, axes,
                                        Bytes(4 * P * moe.experts), {"routing"},
                                        {"expert_counts"}));
  build.backward_beside(build.collective("dispatch_back", CollectiveKind::all_to_all, axes, rows,
                                         {"d_received"}, {"d_sent"}));
  build.stage("local_permute");
  build.vector("local_permute", {}, {"received", "expert_counts"}, {"rows_in"}, {}, {"received"});
  build_experts(build, moe, n, R);
  build.padded_activation("rows_out", R, moved, D);
  build.padded_activation("rows_sorted_back", R, moved, D);
  build.activation("returned", n, D);
  build.activation("routed_out", build.T(), D);
  build.stage("local_unpermute");
  build.vector("local_unpermute", {}, {"rows_out"}, {"rows_sorted_back"}, {}, {"rows_out"});
  build.stage("combine");
  build.forward_beside(build.collective("combine", CollectiveKind::all_to_all, axes, rows,
                                        {"rows_sorted_back"}, {"returned"}));
  build.backward_beside(build.collective("combine_back", CollectiveKind::all_to_all, axes, rows,
                                         {"d_returned"}, {"d_rows_sorted_back"}));
  build.stage("unpermute");
  build.vector("unpermute", {}, {"returned", "routing"}, {"routed_out"}, {"returned", "routing"},
               {"returned", "routing"});
}

// All tokens of the expert group come to every device; each computes its experts' rows; the sums
// return.
void build_ring_of_experts(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t T = build.T();
  const std::int64_t n = checked_multiply(T, moe.top_k, "slots");
  const std::int64_t D = build.plan().model.emb_dim;
  const std::vector<std::string> axes{"expert"};
  const std::int64_t element = element_bytes(build.plan().training.activations);
  const Bytes tokens = Bytes(checked_product({P, T, D}, "gathered tokens")) * element;
  const Bytes logits = Bytes(checked_product({P, T, moe.experts}, "gathered logits")) * element;
  build.activation("all_tokens", P * T, D);
  build.activation("all_logits", P * T, moe.experts);
  build.activation("partial_out", P * T, D);
  build.activation("routed_out", T, D);

  build.stage("gather_tokens");
  if (moe.shared_width > 0) build_shared(build, moe, input);
  build.forward_beside(build.collective("gather_tokens", CollectiveKind::all_gather, axes, tokens,
                                        {input}, {"all_tokens"}));
  build.forward_beside(build.collective("gather_logits", CollectiveKind::all_gather, axes, logits,
                                        {"router_logits"}, {"all_logits"}));
  build.backward_beside(build.collective("reduce_tokens", CollectiveKind::reduce_scatter, axes,
                                         tokens, {"d_all_tokens"}, {"d_" + input}));
  build.backward_beside(build.collective("reduce_logits", CollectiveKind::reduce_scatter, axes,
                                         logits, {"d_all_logits"}, {"d_router_logits"}));
  Names chosen_by;
  if (moe.score != MoeMlp::Score::softmax) {
    // Scores before the bias travel beside the biased ones that choose; only one of the two has a
    // gradient.
    chosen_by.emplace_back("all_scores");
    build.activation("all_scores", P * T, moe.experts);
    build.forward_beside(build.collective("gather_scores", CollectiveKind::all_gather, axes, logits,
                                          {"router_logits"}, {"all_scores"}));
  }
  if (moe.routing == MoeMlp::Routing::hash) {
    chosen_by.emplace_back("all_ids");
    build.activation("all_ids", P * T, 1, DType::int32);
    build.forward_beside(build.collective("gather_token_ids", CollectiveKind::all_gather, axes,
                                          Bytes(checked_multiply(4, P * T, "token ids")), {},
                                          {"all_ids"}));
  }
  build.stage("permute");
  build_choice(build, moe, P * T, "all_logits", "routing", chosen_by);
  const std::int64_t moved = moved_rows(build, n, P * n);
  build.padded_activation("rows_in", P * n, moved, D);
  build.vector("permute", {}, {"all_tokens", "routing"}, {"rows_in"}, {}, {"all_tokens"});
  build_experts(build, moe, n, P * n);
  build.padded_activation("rows_out", P * n, moved, D);
  build.stage("unpermute");
  build.vector("unpermute", {}, {"rows_out", "routing"}, {"partial_out"}, {"rows_out", "routing"},
               {"rows_out", "routing"});
  build.stage("reduce_outputs");
  build.forward_beside(build.collective("reduce_outputs", CollectiveKind::reduce_scatter, axes,
                                        tokens, {"partial_out"}, {"routed_out"}));
  build.backward_beside(build.collective("gather_gradients", CollectiveKind::all_gather, axes,
                                         tokens, {"d_routed_out"}, {"d_partial_out"}));
}

// All experts on all tokens (dense_matmul without capacity): E / k times the mathematics.
void build_all_experts(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t F = moe.width;
  const FlopCount up(checked_product({2, moe.up_projections, T, moe.top_k, D, F}, "expert FLOPs"));
  const FlopCount down(checked_product({2, T, moe.top_k, F, D}, "expert FLOPs"));
  build_choice(build, moe, T, "router_logits", "routing");
  Names hidden;
  for (std::int64_t i = 0; i < moe.up_projections; ++i) {
    hidden.push_back(fmt::format("expert_w{}", i));
    build.activation(hidden.back(), T, moe.experts * F);
  }
  build.activation("expert_out", T, moe.experts * D);
  build.activation("routed_out", T, D);
  const Names up_weights = up_names(block, moe.up_projections, "");
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    build.stage(fmt::format("experts_up_{}", i));
    build.linear(fmt::format("experts_up_{}", i), {up_weights[i]}, {input}, {hidden[i]},
                 {{moe.experts, T, D, F}}, FlopCount(up.value() / moe.up_projections));
  }
  if (moe.expert_bias)
    build.vector("experts_up_bias", up_names(block, moe.up_projections, "_bias"), {}, hidden, {},
                 hidden);
  // out = hidden wo, y = sum_e w_e out_e. The gradient of out is w_e dy: a product of two small
  // arrays that is fused into the products that read it, and never stored.
  build.stage("experts_down");
  const Names wo{block + "wo"};
  const Names fused_gradient{"d_routed_out", "routing"};
  Names kept = hidden;
  kept.insert(kept.end(), fused_gradient.begin(), fused_gradient.end());
  build.forward(build.compute("experts_down", OpKind::matmul, {{moe.experts, T, F, D}}, down,
                              hidden, {"expert_out"}, wo));
  build.backward(build.compute("experts_down_dw", OpKind::matmul, {{moe.experts, F, T, D}}, down,
                               kept, {}, {}, wo));
  build.backward(build.compute("experts_down_dx", OpKind::matmul, {{moe.experts, T, D, F}}, down,
                               fused_gradient, gradients_of(hidden), wo));
  if (moe.expert_bias)
    build.forward(build.compute("experts_down_bias", OpKind::elementwise, {}, {}, {},
                                {"expert_out"}, {block + "wo_bias"}));
  if (moe.expert_bias)
    build.backward(build.compute("experts_down_bias_back", OpKind::elementwise, {}, {},
                                 fused_gradient, {}, {}, {block + "wo_bias"}));
  build.stage("combine");
  build.forward(build.compute("combine", OpKind::elementwise, {}, {}, {"expert_out", "routing"},
                              {"routed_out"}));
  build.backward(build.compute("combine_back", OpKind::elementwise, {}, {},
                               {"expert_out", "routing", "d_routed_out"}, {"d_routing"}));
  if (moe.shared_width > 0) {
    build.stage("shared");
    build_shared(build, moe, input);
  }
}

}  // namespace

Names build_mlp(LayerBuilder& build, const Mlp& mlp, const std::string& input) {
  if (const auto* dense = std::get_if<DenseMlp>(&mlp)) {
    build.stage("mlp");
    build_dense(build, "mlp/", *dense, "mlp", input, "mlp_out");
    return {"mlp_out"};
  }
  const auto& moe = std::get<MoeMlp>(mlp);
  const ResolvedConfig& config = build.plan().config;
  build_router(build, moe, input);
  if (!config.boolean("sparse_matmul")) {
    build_all_experts(build, moe, input);
  } else if (build.plan().mesh.size("expert") == 1) {
    build_local(build, moe, input);
  } else if (config.boolean("use_ring_of_experts")) {
    build_ring_of_experts(build, moe, input);
  } else {
    build_ragged_all_to_all(build, moe, input);
  }
  return moe.shared_width > 0 ? Names{"routed_out", "shared_out"} : Names{"routed_out"};
}

}  // namespace meshsim
