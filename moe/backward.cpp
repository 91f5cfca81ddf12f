#include "moe/backward.hpp"

#include <cmath>

#include "moe/gemm.hpp"
#include "moe/permute.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// dg and du in place of g and u, given dh; sigma = sigmoid(g), silu' = sigma (1 + g (1 - sigma)).
void activation_gradient(float limit, const Tensor<float>& dh, Tensor<float>& g, Tensor<float>& u) {
  const float most = limit > 0 ? limit : HUGE_VALF;
  for (std::int64_t i = 0; i < dh.size(); ++i) {
    const float gate = std::min(g.data()[i], most);
    const float up = std::min(std::max(u.data()[i], -most), most);
    const float sigma = sigmoid(gate);
    const bool gate_inside = g.data()[i] <= most, up_inside = std::abs(u.data()[i]) <= most;
    const float d = dh.data()[i];
    g.data()[i] = gate_inside ? d * up * sigma * (1 + gate * (1 - sigma)) : 0.0F;
    u.data()[i] = up_inside ? d * gate * sigma : 0.0F;
  }
}

// dz [T, E] from dw [T, k]; zero at the experts that were not chosen.
Tensor<float> gate_gradient(const RouterRule& rule, const Tensor<float>& z,
                            const RouteOutput& routed, const Tensor<float>& dw) {
  auto dz = Tensor<float>::zeros(z.shape());
  const std::int64_t k = rule.top_k;
  for (std::int64_t t = 0; t < z.rows(); ++t) {
    const ExpertId* const ids = routed.choice.ids.data() + t * k;
    float sum = 1e-20F, mean = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      sum += sqrt_softplus(z.row(t)[ids[j]]);
      mean += dw.row(t)[j] * routed.choice.weights.row(t)[j];
    }
    for (std::int64_t j = 0; j < k; ++j) {
      const float dpre = (rule.scale * dw.row(t)[j] - mean) / sum;
      const float logit = z.row(t)[ids[j]], pre = sqrt_softplus(logit);
      if (pre > 0) dz.row(t)[ids[j]] += dpre * sigmoid(logit) / (2 * pre);
    }
  }
  return dz;
}

}  // namespace

MoeGradients routed_moe_gradients(const Tensor<float>& x, std::span<const std::int64_t> token_ids,
                                  const Tensor<float>& dy, const MoeWeights<float>& weights,
                                  const MoeConfig& config, const HashTable* table) {
  const RouterRule& rule = config.rule;
  if (rule.score != Score::sqrt_softplus || rule.weights != WeightRule::chosen_scores ||
      !rule.normalise || config.activation != Activation::swiglu)
    throw Error(ErrorKind::invalid_input, "gradients exist for the layer of DeepSeek-V4 only");
  require_shape(dy, x.shape(), "dy");
  const ExpertWeights<float>& experts = weights.experts;
  const std::int64_t tokens = x.rows(), d = x.width(), k = rule.top_k;

  // Forward, keeping what the backward pass needs.
  const RouteOutput routed = route(x, token_ids, weights, config, table);
  const RouteMetadata sorted = sort_slots(routed.choice.ids, rule.experts);
  const std::vector<Slot> inverse = inverse_of(sorted.order);
  Tensor<float> rows({tokens * k, d});  // X_sorted [n, d]
  gather_rows(x, sorted.order, k, rows);
  Tensor<float> g = grouped_gemm(rows, sorted.group_sizes, experts.w0);  // [n, H]
  Tensor<float> u = grouped_gemm(rows, sorted.group_sizes, experts.w1);  // [n, H]
  Tensor<float> h = g;                                                   // [n, H]
  activate(config.activation, config.swiglu_limit, h, u);
  const Tensor<float> y = grouped_down(h, sorted.group_sizes, experts);  // [n, d]
  MoeGradients result;
  result.output = Tensor<float>({tokens, d});
  weighted_sum(y, inverse, routed.choice.weights.data(), k, true, result.output);

  // The weighted sum.
  Tensor<float> dw({tokens, k});       // [T, k]
  Tensor<float> dys({tokens * k, d});  // dY [n, d], sorted
  for (std::int64_t s = 0; s < tokens * k; ++s) {
    const std::int64_t row = inverse[static_cast<std::size_t>(s)];
    const float* const upstream = dy.row(s / k);
    float product = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      product += y.row(row)[c] * upstream[c];
      dys.row(row)[c] = routed.choice.weights.data()[s] * upstream[c];
    }
    dw.data()[s] = product;
  }

  // The experts.
  const GroupSizes groups = sorted.group_sizes;
  result.d_wo = grouped_gemm_weight_gradient(h, dys, groups);
  const Tensor<float> dh = grouped_gemm_input_gradient(dys, groups, experts.wo);  // [n, H]
  activation_gradient(config.swiglu_limit, dh, g, u);                             // now dg, du
  result.d_w0 = grouped_gemm_weight_gradient(rows, g, groups);
  result.d_w1 = grouped_gemm_weight_gradient(rows, u, groups);
  Tensor<float> drows = grouped_gemm_input_gradient(g, groups, experts.w0);  // [n, d]
  const Tensor<float> from_up = grouped_gemm_input_gradient(u, groups, experts.w1);
  for (std::int64_t i = 0; i < drows.size(); ++i) drows.data()[i] += from_up.data()[i];
  result.dx = Tensor<float>({tokens, d});
  weighted_sum(drows, inverse, nullptr, k, true, result.dx);  // the k copies of a token, summed

  // The router.
  const Tensor<float> z = gate_logits(x, weights.gate_kernel, rule);  // [T, E]
  const Tensor<float> dz = gate_gradient(rule, z, routed, dw);
  result.d_gate_kernel = Tensor<float>({d, rule.experts});
  gemm(d, rule.experts, tokens, Operand<float>{x.data(), d, true},
       Operand<float>{dz.data(), rule.experts}, result.d_gate_kernel.data(), rule.experts, 0.0F);
  gemm(tokens, d, rule.experts, Operand<float>{dz.data(), rule.experts},
       Operand<float>{weights.gate_kernel.data(), rule.experts, true}, result.dx.data(), d, 1.0F);
  return result;
}

}  // namespace meshsim
