#include "program/layer_template.hpp"

#include "program/batch_split.hpp"
#include "program/layer_builder.hpp"
#include "program/streams.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

Names with(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

// One mixing site of the hyper-connections around a block that maps `u` to its outputs: the streams
// of `in` collapse into u; the block's outputs are injected into the mixed streams of `out`.
struct Site {
  std::string path;  // "mhc_attention/"
  Name norm;         // of the collapsed stream
  Name in, out;      // streams
  Name u;
};

Name coefficients(const Site& site) { return site.u + "_mix"; }

// Where the columns of the streams are split: the squares of the k streams and of what they
// collapse into, and the products with the mixing weights; backward, the same norms, and the
// gradients of the collapse's k weights.
std::vector<ColumnSum> collapse_sums(const LayerBuilder& build, bool backward) {
  const std::int64_t k = build.plan().model.hyper_connections->streams;
  if (backward) return {{"collapsed_norm", 1}, {"collapse_weights", k}, {"streams_norm", 1}};
  return {{"streams_norm", 1},
          {"mix_weights", k * k + 2 * k, build.plan().training.activations},
          {"collapsed_norm", 1}};
}

void open_site(LayerBuilder& build, const Site& site) {
  const std::int64_t k = build.plan().model.hyper_connections->streams;
  const Name mix = coefficients(site);
  const bool split = !build.axes().embed.empty();
  stream_activation(build, site.u);
  build.activation(mix, build.stream_rows(), 2 * k + 2 * k * k, DType::float32);
  build.stage(site.path + "collapse");
  const std::string& p = site.path;
  const Names weights{
      p + "mhc_norm/scale",   p + "pre_alpha",       p + "post_alpha", p + "res_alpha",
      p + "pre_beta",         p + "post_beta",       p + "res_beta",   p + "pre_alpha_scale",
      p + "post_alpha_scale", p + "res_alpha_scale", site.norm};
  // Coefficients 2 kD (k^2 + 2k), collapse 2 kD.
  const FlopCount flops(checked_product(
      {build.stream_rows(), 2 * k * build.stream_columns(), k * k + 2 * k + 1}, "mhc FLOPs"));
  Names in{site.in};
  Names kept{site.in, mix};
  const Name sums = site.u + "_sums";
  if (split) {
    column_sums(build, sums, in, collapse_sums(build, false));
    in.push_back(sums);
    kept.push_back("d_" + sums);
  }
  build.vector("collapse", weights, in, {site.u, mix}, kept, {site.in}, flops);
  if (split) column_sums_back(build, sums, {"d_" + site.u, site.in}, collapse_sums(build, true));
}

void close_site(LayerBuilder& build, const Site& site, const Names& outputs) {
  const std::int64_t k = build.plan().model.hyper_connections->streams;
  stream_activation(build, site.out, k);
  build.stage(site.path + "mix");
  const Names inputs = with({site.in, coefficients(site)}, outputs);
  // Injection kD, residual mixing 2 k^2 D.
  const FlopCount flops(
      checked_product({build.stream_rows(), k * build.stream_columns(), 2 * k + 1}, "mhc FLOPs"));
  // Of the coefficients' gradients each device has what its columns give.
  if (!build.axes().embed.empty()) {
    const Name gradient = "d_" + coefficients(site);
    const Bytes payload(checked_product({build.stream_rows(), k * k + k, 4}, "mixing gradients"));
    build.backward(build.collective("mix_sums_back", CollectiveKind::all_reduce, build.axes().embed,
                                    payload, {gradient}, {gradient}));
  }
  build.vector("mix", {}, inputs, {site.out}, inputs, inputs, flops);
}

void build_hyper_connected(LayerBuilder& build, const LayerKind& kind, Name in, Name out) {
  const Site attention{"mhc_attention/", "pre_self_attention_layer_norm/scale", in, "x_mid",
                       "attention_in"};
  open_site(build, attention);
  build_attention(build, *kind.attention, "attention_in", "attention_result");
  close_site(build, attention, {"attention_result"});
  const Site mlp{"mhc_mlp/", "post_self_attention_layer_norm/scale", "x_mid", out, "mlp_in"};
  open_site(build, mlp);
  close_site(build, mlp, build_mlp(build, kind.mlp, "mlp_in"));
}

Names norm_weights(const ModelSpec& model, const std::string& path) {
  if (model.layer_norm) return {path + "/scale", path + "/bias"};
  return {path + "/scale"};
}

// mid = in + attention(norm(in)); out = mid + mlp(norm(mid))
void build_pre_norm(LayerBuilder& build, const LayerKind& kind, Name in, Name out) {
  const ModelSpec& model = build.plan().model;
  for (const Name stream : {Name("attention_in"), Name("x_mid"), Name("mlp_in"), out})
    stream_activation(build, stream);
  build.stage("attention_norm");
  stream_norm(build, "attention_norm", norm_weights(model, "pre_self_attention_layer_norm"), in,
              "attention_in");
  build_attention(build, *kind.attention, "attention_in", "attention_result");
  build.stage("attention_residual");
  build.vector("attention_residual", {}, {in, "attention_result"}, {"x_mid"}, {},
               {in, "attention_result"});
  build.stage("mlp_norm");
  stream_norm(build, "mlp_norm", norm_weights(model, "post_self_attention_layer_norm"), "x_mid",
              "mlp_in");
  const Names outputs = build_mlp(build, kind.mlp, "mlp_in");
  build.stage("mlp_residual");
  const Names inputs = with({"x_mid"}, outputs);
  build.vector("mlp_residual", {}, inputs, {out}, {}, inputs);
}

}  // namespace

namespace {

LayerTemplate whole_layer(const Plan& plan, const LayerKind& kind, const LocalBatch& batch) {
  const ModelSpec& model = plan.model;
  const std::string tag = attention_tag(kind) + "/" + mlp_tag(kind);
  LayerBuilder build(plan, tag, plan_layer_tensors(plan, kind), batch);
  const std::int64_t streams = model.hyper_connections ? model.hyper_connections->streams : 1;
  stream_activation(build, layer_input, streams);
  if (model.hyper_connections) {
    build_hyper_connected(build, kind, layer_input, layer_output);
  } else {
    build_pre_norm(build, kind, layer_input, layer_output);
  }
  return build.take();
}

}  // namespace

LayerTemplate layer_template(const Plan& plan, const LayerKind& kind, const LocalBatch& batch) {
  if (!splits_batch(plan) || !std::holds_alternative<MoeMlp>(kind.mlp))
    return whole_layer(plan, kind, batch);
  return stagger(whole_layer(plan, kind, half_batch(batch)));
}

namespace {

// The streams and the next tokens' embeddings, normed, through the projection of each; the block;
// its own exit weights on the streams, which the head then merges as it does those of the layers.
void build_hyper_connected_prediction(LayerBuilder& build) {
  const ModelSpec& model = build.plan().model;
  const std::int64_t k = model.hyper_connections->streams;
  const std::int64_t D = model.emb_dim;
  for (const char* streams : {layer_input, "hidden", "projected", "layer_out", layer_output})
    stream_activation(build, streams, k);
  stream_activation(build, "embedded");
  build.stage("projection");
  stream_norm(build, "embedding_norm", norm_weights(model, "embedding_norm"), "next_tokens",
              "embedded");
  stream_norm(build, "hidden_norm", norm_weights(model, "hidden_state_norm"), layer_input, "hidden",
              k);
  build.linear("projection", {"embedding_projection/kernel", "hidden_state_projection/kernel"},
               {whole_columns(build, "embedded", 1), whole_columns(build, "hidden", k)},
               {"projected"}, {{k + 1, build.stream_rows(), D, build.stream_columns()}});
  build_hyper_connected(build, model.mtp_kind(), "projected", "layer_out");
  build.stage("final_norm");
  Names exit = norm_weights(model, "final_norm");
  if (model.hyper_connections->head)
    exit = with(exit, {"hc_head/hc_fn", "hc_head/hc_base", "hc_head/hc_scale"});
  stream_norm(build, "final_norm", exit, "layer_out", layer_output, k);
}

// The same of one stream.
void build_prediction(LayerBuilder& build) {
  const ModelSpec& model = build.plan().model;
  const std::int64_t D = model.emb_dim;
  for (const char* stream : {layer_input, "projected", layer_output})
    stream_activation(build, stream);
  stream_activation(build, "merged", 2);
  build.stage("projection");
  const Names norms =
      with(norm_weights(model, "embedding_norm"), norm_weights(model, "hidden_state_norm"));
  const Names halves{layer_input, "next_tokens"};
  build.vector("merge", norms, halves, {"merged"}, halves, halves);
  build.linear("projection", {"projection/kernel"}, {whole_columns(build, "merged", 2)},
               {"projected"}, {{1, build.stream_rows(), 2 * D, build.stream_columns()}});
  build_pre_norm(build, model.mtp_kind(), "projected", "layer_out");
  build.stage("final_norm");
  stream_norm(build, "final_norm", norm_weights(model, "final_norm"), "layer_out", layer_output);
}

LayerTemplate whole_prediction(const Plan& plan, const LocalBatch& batch) {
  const ModelSpec& model = plan.model;
  std::vector<Tensor> tensors = mtp_tensors(model, plan.expert_axes);
  const std::string layer = "transformer_layer/";
  for (Tensor& tensor : tensors) {
    if (tensor.name.starts_with(layer)) tensor.name.erase(0, layer.size());
  }
  for (Tensor& tensor : global_tensors(model)) {
    if (tensor.name == "token_embedder/embedding") tensors.push_back(std::move(tensor));
  }
  LayerBuilder build(plan, "mtp", tensors, batch);
  const Names table{"token_embedder/embedding"};
  build.stage("embedding");
  const Name found = partial_output(build, "next_tokens");
  OpTemplate lookup = build.compute("lookup", OpKind::elementwise, {}, {}, {}, {found}, table);
  std::get<Compute>(lookup.work).hbm_bytes =
      build.symbol(found).touched * 2;  // only this batch's rows
  build.forward(std::move(lookup));
  build.backward(
      build.compute("lookup_back", OpKind::elementwise, {}, {}, {"d_" + found}, {}, {}, table));
  leave_block(build, "next_tokens");
  if (model.hyper_connections) {
    build_hyper_connected_prediction(build);
  } else {
    build_prediction(build);
  }
  return build.take();
}

}  // namespace

LayerTemplate mtp_template(const Plan& plan, const LocalBatch& batch) {
  if (!splits_batch(plan) || !std::holds_alternative<MoeMlp>(plan.model.mtp_kind().mlp))
    return whole_prediction(plan, batch);
  return stagger(whole_prediction(plan, half_batch(batch)));
}

}  // namespace meshsim
