#include "program/outer_templates.hpp"

#include <algorithm>
#include <vector>

#include "program/layer_builder.hpp"
#include "program/streams.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::vector<Tensor> tensors_named(const Plan& plan, bool embedding) {
  std::vector<Tensor> some;
  for (Tensor& tensor : global_tensors(plan.model)) {
    const bool table = tensor.name == "token_embedder/embedding" ||
                       tensor.name.find("position_embedder") != std::string::npos;
    const bool shared = plan.model.tied_embedding && tensor.name == "token_embedder/embedding";
    if (table == embedding || (!embedding && shared)) some.push_back(std::move(tensor));
  }
  return some;
}

std::int64_t streams(const Plan& plan) {
  return plan.model.hyper_connections ? plan.model.hyper_connections->streams : 1;
}

}  // namespace

LayerTemplate embedding_template(const Plan& plan, const LocalBatch& batch) {
  const std::int64_t D = plan.model.emb_dim;
  LayerBuilder build(plan, "global", tensors_named(plan, true), batch);
  stream_activation(build, layer_output, streams(plan));
  build.stage("embedding");
  // Each of the X devices has the rows of its part of the vocabulary; the rest of a token's sum
  // comes from the others.
  const bool split = build.ways() > 1;
  const Name one = split && streams(plan) > 1 ? "embedded" : layer_output;
  const Name found = split ? partial_output(build, one) : layer_output;
  Names tables{"token_embedder/embedding"};
  if (plan.model.learned_positions > 0) tables.emplace_back("decoder/position_embedder/embedding");
  OpTemplate lookup = build.compute("lookup", OpKind::elementwise, {}, {}, {}, {found}, tables);
  // Only the rows of this batch's tokens are read.
  const Bytes rows = Bytes(
      checked_product({build.T(), D, element_bytes(plan.training.activations)}, "embedding rows"));
  std::get<Compute>(lookup.work).hbm_bytes = rows + build.symbol(found).touched;
  build.forward(std::move(lookup));
  build.backward(
      build.compute("lookup_back", OpKind::elementwise, {}, {}, {"d_" + found}, {}, {}, tables));
  if (split) leave_block(build, one);
  if (one != layer_output) build.vector("expand", {}, {one}, {layer_output}, {}, {one});
  return build.take();
}

LayerTemplate head_template(const Plan& plan, const LocalBatch& batch) {
  const ModelSpec& model = plan.model;
  const std::int64_t D = model.emb_dim;
  const std::int64_t T = batch.tokens();
  LayerBuilder build(plan, "global", tensors_named(plan, false), batch);
  const std::int64_t V = model.vocab_size / build.ways();
  stream_activation(build, layer_input, streams(plan));
  stream_activation(build, "final");
  build.activation("logits", T, V);
  build.activation("logits_fp32", T, V, DType::float32);
  build.activation("loss", T, 1, DType::float32);
  build.stage("final_norm");
  Names weights{"decoder/decoder_norm/scale"};
  if (model.layer_norm) weights.emplace_back("decoder/decoder_norm/bias");
  FlopCount merge;
  if (model.hyper_connections && model.hyper_connections->head) {
    weights.insert(weights.end(), {"decoder/hc_head/hc_fn", "decoder/hc_head/hc_base",
                                   "decoder/hc_head/hc_scale"});
    const std::int64_t k = model.hyper_connections->streams;
    merge = FlopCount(checked_product({2, build.stream_rows(), k * build.stream_columns(), k + 1},
                                      "hc_head FLOPs"));
  }
  if (model.hyper_connections) {
    Names in{layer_input};
    Names kept{layer_input};
    std::vector<ColumnSum> sums{{"final_norm_sums", 1}};
    if (model.hyper_connections->head)
      sums = {{"streams_norm", 1},
              {"head_weights", model.hyper_connections->streams},
              {"final_norm_sums", 1}};
    const bool split = !build.axes().embed.empty();
    if (split) {
      column_sums(build, "final_sums", in, sums);
      in.emplace_back("final_sums");
      kept.emplace_back("d_final_sums");
    }
    build.vector("final_norm", weights, in, {"final"}, kept, {layer_input}, merge);
    std::reverse(sums.begin(), sums.end());
    if (split) column_sums_back(build, "final_sums", {"d_final", layer_input}, sums);
  } else {
    stream_norm(build, "final_norm", weights, layer_input, "final");
  }
  build.stage("lm_head");
  const Name head =
      model.tied_embedding ? "token_embedder/embedding" : "decoder/logits_dense/kernel";
  build.unquantised();
  build.linear("lm_head", {head}, {enter_block(build, "final")}, {"logits"}, {{1, T, D, V}});
  build.stage("loss");
  Names logits{"logits"};
  if (build.ways() > 1) {
    // The greatest logit, the sum of exponentials and the target's logit of each token.
    build.activation("loss_sums", T, 3, DType::float32);
    const Bytes payload(checked_multiply(3 * 4, T, "loss sums"));
    build.forward(build.collective("loss_sums", CollectiveKind::all_reduce, build.axes().within,
                                   payload, {"logits"}, {"loss_sums"}));
    logits.emplace_back("loss_sums");
  }
  build.forward(
      build.compute("cross_entropy", OpKind::elementwise, {}, {}, logits, {"logits_fp32", "loss"}));
  OpTemplate gradient = build.compute("cross_entropy_back", OpKind::elementwise, {}, {},
                                      {"logits_fp32", "loss"}, {"d_logits"});
  // MaxText's rule of the loss names the head's product among its residuals, though its gradient
  // reads the exponentials alone.
  gradient.spares = {"logits"};
  build.backward(std::move(gradient));
  LayerTemplate layer = build.take();
  for (const char* name : {"logits", "logits_fp32"}) layer.symbols.at(name).category = "logits";
  return layer;
}

}  // namespace meshsim
