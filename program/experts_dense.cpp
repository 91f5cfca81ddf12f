#include "program/expert_stages.hpp"

#include <fmt/format.h>

#include "units/checked.hpp"

namespace meshsim {

void build_all_experts(LayerBuilder& build, const MoeMlp& moe, Name input) {
  const std::int64_t T = build.T();
  const std::int64_t D = build.plan().model.emb_dim;
  const std::int64_t F = moe.width;
  const FlopCount up(checked_product({2, moe.up_projections, T, moe.top_k, D, F}, "expert FLOPs"));
  const FlopCount down(checked_product({2, T, moe.top_k, F, D}, "expert FLOPs"));
  build_choice(build, moe, T, "router_logits");
  Names hidden;
  for (std::int64_t i = 0; i < moe.up_projections; ++i) {
    hidden.push_back(fmt::format("expert_w{}", i));
    build.activation(hidden.back(), T, moe.experts * F);
  }
  build.activation("expert_out", T, moe.experts * D);
  build.activation("routed_out", T, D);
  const Names up_weights = up_names(moe_block, moe.up_projections, "");
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    build.stage(fmt::format("experts_up_{}", i));
    build.linear(fmt::format("experts_up_{}", i), {up_weights[i]}, {input}, {hidden[i]},
                 {{moe.experts, T, D, F}}, FlopCount(up.value() / moe.up_projections));
  }
  if (moe.expert_bias)
    build.vector("experts_up_bias", up_names(moe_block, moe.up_projections, "_bias"), {}, hidden,
                 {}, hidden);
  // out = hidden wo, y = sum_e w_e out_e. The gradient of out is w_e dy: a product of two small
  // arrays that is fused into the products that read it, and never stored.
  build.stage("experts_down");
  const Names wo{moe_block + "wo"};
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
                                {"expert_out"}, {moe_block + "wo_bias"}));
  if (moe.expert_bias)
    build.backward(build.compute("experts_down_bias_back", OpKind::elementwise, {}, {},
                                 fused_gradient, {}, {}, {moe_block + "wo_bias"}));
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

}  // namespace meshsim
