#include "program/expert_stages.hpp"

#include "program/batch_split.hpp"
#include "program/streams.hpp"

namespace meshsim {

Names up_names(const std::string& path, std::int64_t up_projections, const char* suffix) {
  if (up_projections == 1) return {path + "wi" + suffix};
  return {path + "wi_0" + suffix, path + "wi_1" + suffix};
}

void build_dense(LayerBuilder& build, const std::string& path, const DenseMlp& mlp, Name name,
                 Name input, Name output) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t width = mlp.width / build.ways();
  const Name hidden = name + "_hidden";
  build.activation(hidden, T, mlp.up_projections * width);
  build.linear(name + "_up", up_names(path, mlp.up_projections, "/kernel"), {input}, {hidden},
               {{mlp.up_projections, T, D, width}});
  if (mlp.bias)
    build.vector(name + "_up_bias", up_names(path, mlp.up_projections, "/bias"), {}, {hidden}, {},
                 {hidden});
  build.linear(name + "_down", {path + "wo/kernel"}, {hidden}, {partial_output(build, output)},
               {{1, T, width, D}});
  leave_block(build, output);
  if (mlp.bias) build.vector(name + "_down_bias", {path + "wo/bias"}, {}, {output}, {}, {output});
}

void build_shared(LayerBuilder& build, const MoeMlp& moe, Name input) {
  build_dense(build, "mlp/shared_experts/", DenseMlp{moe.shared_width, moe.up_projections},
              "shared", input, "shared_out");
}

void build_router(LayerBuilder& build, const MoeMlp& moe, Name stream) {
  build.stage("router");
  latent_linear(build, "router", {moe_block + "gate/kernel"}, stream, "router_logits", moe.experts,
                gate_type(build));
}

std::int64_t returned_columns(const LayerBuilder& build) { return build.stream_columns(); }

DType gate_type(const LayerBuilder& build) {
  const bool wide = build.plan().model.config.float32_gate_logits;
  return wide ? DType::float32 : build.plan().training.activations;
}

void build_choice(LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens, Name logits,
                  Names beside, const std::string& chunk) {
  const Name routing = "routing" + chunk;
  build.activation(routing, tokens, 2 * moe.top_k, DType::float32);
  if (!moe.router) return;
  const Names weights =
      moe.router_bias == MoeMlp::Bias::trained ? Names{moe_block + "gate/bias"} : Names{};
  beside.push_back(logits);
  build.vector("route" + chunk, weights, beside, {routing}, {logits}, {logits});
}

namespace {

// The tiles that MaxText's keys give to the products of `kernel` ("wi", "wo"). Theirs are named
// after model dimensions: an up-projection contracts the embedding, a down-projection the hidden
// width.
GroupedTiles grouped_tiles(const ResolvedConfig& config, const std::string& kernel) {
  const auto tile = [&](const std::string& pass, bool contracts_embedding) {
    const std::string key = kernel + "_tile_" + pass + "_";
    const std::int64_t embed = config.integer(key + "embed_dim");
    const std::int64_t mlp = config.integer(key + "mlp_dim");
    return KernelTile{config.integer(key + "batch_seq"), contracts_embedding ? embed : mlp,
                      contracts_embedding ? mlp : embed};
  };
  const bool up = kernel == "wi";
  return {tile("fwd", up), tile("dlhs", !up), tile("drhs", up)};
}

}  // namespace

LayerBuilder::Groups local_experts(const LayerBuilder& build, const MoeMlp& moe,
                                   const char* kernel) {
  return {moe.experts / build.plan().mesh.size("expert"),
          grouped_tiles(build.plan().config, kernel)};
}

void build_activation(LayerBuilder& build, const MoeMlp& moe, const std::string& chunk) {
  const Names weights =
      moe.expert_bias ? up_names(moe_block, moe.up_projections, "_bias") : Names{};
  const Name up = "expert_up" + chunk;
  build.vector("expert_activation" + chunk, weights, {up}, {"expert_hidden" + chunk}, {up}, {up});
}

void build_down(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products) {
  LayerBuilder::Groups groups = local_experts(build, moe, "wo");
  groups.adds = products.adds;
  const std::int64_t D = build.plan().model.emb_dim;
  const Name out = "rows_out" + products.chunk;
  const Name sums = build.ways() == 1 ? out : Name("rows_partial" + products.chunk);
  build.padded_activation(sums, products.rows.buffer, products.rows.routed, D);
  build.grouped_linear("gmm_down" + products.chunk, {moe_block + "wo"},
                       "expert_hidden" + products.chunk, {sums},
                       {{1, products.rows.routed, moe.width, D}}, groups);
  // The whole buffer, padding included.
  if (sums != out)
    build.transfer("reduce_rows" + products.chunk, CollectiveKind::reduce_scatter,
                   CollectiveKind::all_gather, build.axes().within,
                   build.activation_bytes(products.rows.buffer, D), sums, out);
  if (moe.expert_bias)
    build.vector("gmm_down_bias" + products.chunk, {moe_block + "wo_bias"}, {}, {out}, {}, {out});
}

void declare_products(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products) {
  const auto rows = [&](const char* name, std::int64_t columns) {
    build.routed_activation(name + products.chunk, products.rows.buffer, products.rows.routed,
                            columns);
  };
  rows("rows_in", build.plan().model.emb_dim);
  rows("expert_up", moe.up_projections * moe.width);
  rows("expert_hidden", moe.width);
  rows("rows_out", returned_columns(build));
}

void build_experts(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products) {
  declare_products(build, moe, products);
  if (!products.in_one_stage) build.stage("experts_up");
  LayerBuilder::Groups groups = local_experts(build, moe, "wi");
  groups.adds = products.adds;
  build.grouped_linear(
      "gmm_up" + products.chunk, up_names(moe_block, moe.up_projections, ""),
      "rows_in" + products.chunk, {"expert_up" + products.chunk},
      {{moe.up_projections, products.rows.routed, build.plan().model.emb_dim, moe.width}}, groups);
  build_activation(build, moe, products.chunk);
  if (!products.in_one_stage) build.stage("experts_down");
  build_down(build, moe, products);
}

std::vector<std::string> expert_assumptions(const Plan& plan) {
  if (!plan.model.has_experts()) return {};
  const ResolvedConfig& config = plan.config;
  std::vector<std::string> all;
  if (splits_batch(plan)) return batch_split_assumptions(plan);
  const bool sparse = config.boolean("sparse_matmul");
  const bool spread = plan.mesh.size("expert") > 1;
  const bool ring = spread && config.boolean("use_ring_of_experts");
  if (spread && plan.expert_axes == ExpertAxes::fsdp_2d && !experts_are_gathered(plan))
    all.emplace_back(
        "two-dimensional FSDP: kernels rest alike on every expert shard; each passes its part of "
        "them on to the devices of those experts, which gather them; XLA may gather more");
  if (sparse && spread && config.integer("num_moe_emb_chunks") > 1)
    all.emplace_back(
        "embedding chunks: the logits are gathered and sorted once, as XLA does where it finds "
        "that the calls of every chunk are the same");
  if (sparse && ring && has_capacity(plan))
    all.emplace_back(
        "a ring of experts with a capacity factor holds that many times its share of rows and "
        "drops "
        "the rest, as Levanter's does; MaxText's takes no capacity_factor");
  if (sparse && spread && !ring && config.real("ragged_buffer_factor") > 0 &&
      config.real("ragged_buffer_factor") < 1)
    all.emplace_back(
        "full receive buffers drop the rows of later sources: what a device sends is the average "
        "of all");
  if (!sparse && spread && !experts_are_gathered(plan) &&
      !config.boolean("moe_dispatch_no_expert_sharding"))
    all.emplace_back(
        "the places of experts travel by all-to-all, as with moe_dispatch_no_expert_sharding; "
        "without it XLA may gather the kernels instead");
  return all;
}

}  // namespace meshsim
