// Attention as MaxText executes it: projections, the core (program/attention_core.hpp), the output.
#include "program/attention_core.hpp"
#include "program/compressed_attention.hpp"
#include "program/layer_builder.hpp"
#include "program/streams.hpp"

namespace meshsim {
namespace {

const std::string path = "self_attention/";

// The output projection of `width` columns of context.
void build_output(LayerBuilder& build, std::int64_t width, Name output) {
  build.stage("out");
  build.linear("out", {path + "out/kernel"}, {"context"}, {partial_output(build, output)},
               {{1, build.T(), width, build.plan().model.emb_dim}});
  leave_block(build, output);
}

void build_grouped_query(LayerBuilder& build, const Attention& attention,
                         const GroupedQueryAttention& a, Name stream, Name output) {
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
  const Name input = enter_block(build, stream);
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
                  Name input, Name output) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t heads = a.heads / build.ways();
  const std::int64_t qk = a.qk_nope + a.qk_rope;
  build.activation("q_up", T, heads * qk);
  build.activation("q", T, heads * qk);
  if (a.q_lora > 0) {
    build.activation("q_latn", T, a.q_lora);
    build.stage("q_a");
    latent_linear(build, "q_a", {path + "wq_a/kernel"}, input, "q_lat", a.q_lora);
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
  latent_linear(build, "kv_a", {path + "wkv_a/kernel"}, input, "kv_lat", a.kv_lora + a.qk_rope);
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

}  // namespace

void build_attention(LayerBuilder& build, const Attention& attention, Name input, Name output) {
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
