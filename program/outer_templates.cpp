#include "program/outer_templates.hpp"

#include "program/layer_builder.hpp"
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
  build.activation(layer_output, build.T(), streams(plan) * D);
  build.stage("embedding");
  Names tables{"token_embedder/embedding"};
  if (plan.model.learned_positions > 0) tables.emplace_back("decoder/position_embedder/embedding");
  OpTemplate lookup =
      build.compute("lookup", OpKind::elementwise, {}, {}, {}, {layer_output}, tables);
  // Only the rows of this batch's tokens are read.
  const Bytes rows = Bytes(
      checked_product({build.T(), D, element_bytes(plan.training.activations)}, "embedding rows"));
  std::get<Compute>(lookup.work).hbm_bytes = rows + build.symbol(layer_output).touched;
  build.forward(std::move(lookup));
  build.backward(build.compute("lookup_back", OpKind::elementwise, {}, {},
                               {std::string("d_") + layer_output}, {}, {}, tables));
  return build.take();
}

LayerTemplate head_template(const Plan& plan, const LocalBatch& batch) {
  const ModelSpec& model = plan.model;
  const std::int64_t D = model.emb_dim;
  const std::int64_t T = batch.tokens();
  LayerBuilder build(plan, "global", tensors_named(plan, false), batch);
  build.activation(layer_input, T, streams(plan) * D);
  build.activation("final", T, D);
  build.activation("logits", T, model.vocab_size);
  build.activation("logits_fp32", T, model.vocab_size, DType::float32);
  build.activation("loss", T, 1, DType::float32);
  build.stage("final_norm");
  Names weights{"decoder/decoder_norm/scale"};
  if (model.layer_norm) weights.emplace_back("decoder/decoder_norm/bias");
  FlopCount merge;
  if (model.hyper_connections && model.hyper_connections->head) {
    weights.insert(weights.end(), {"decoder/hc_head/hc_fn", "decoder/hc_head/hc_base",
                                   "decoder/hc_head/hc_scale"});
    const std::int64_t k = model.hyper_connections->streams;
    merge = FlopCount(checked_product({2, T, k * D, k + 1}, "hc_head FLOPs"));
  }
  build.vector("final_norm", weights, {layer_input}, {"final"}, {layer_input}, {layer_input},
               merge);
  build.stage("lm_head");
  const std::string head =
      model.tied_embedding ? "token_embedder/embedding" : "decoder/logits_dense/kernel";
  build.linear("lm_head", {head}, {"final"}, {"logits"}, {{1, T, D, model.vocab_size}});
  build.stage("loss");
  build.forward(build.compute("cross_entropy", OpKind::elementwise, {}, {}, {"logits"},
                              {"logits_fp32", "loss"}));
  build.backward(build.compute("cross_entropy_back", OpKind::elementwise, {}, {},
                               {"logits_fp32", "loss"}, {"d_logits"}));
  LayerTemplate layer = build.take();
  for (const char* name : {"logits", "logits_fp32"}) layer.symbols.at(name).category = "logits";
  return layer;
}

}  // namespace meshsim
