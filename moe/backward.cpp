#include "moe/backward.hpp"

#include <cmath>

#include "moe/gemm.hpp"
#include "moe/token_parts.hpp"
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

// The results of one exchange: all tokens, one chunk or one microbatch.
struct PartGradients {
  Tensor<float> output, dx;        // [T, d]
  Tensor<float> d_pre;             // [T, E]
  Tensor<float> d_w0, d_w1, d_wo;  // of the local experts
};

// X [r, d], in as many column slices as the strategy gathers.
Tensor<float> all_rows(ExpertExchange<float>& exchange, const MoeConfig& config) {
  const std::int64_t chunks =
      config.strategy == Strategy::embedding_chunks ? config.num_moe_emb_chunks : 1;
  if (chunks == 1) return exchange.rows(0);
  Tensor<float> rows;
  for (std::int64_t c = 0; c < chunks; ++c) {
    const Tensor<float> slice = exchange.rows(c);
    if (c == 0) rows = Tensor<float>({slice.rows(), slice.width() * chunks});
    for (std::int64_t i = 0; i < slice.rows(); ++i)
      std::copy_n(slice.row(i), slice.width(), rows.row(i) + c * slice.width());
  }
  return rows;
}

// Weights that multiplied h: h's gradient goes through them, and they have their own.
void through_row_weights(ExpertExchange<float>& exchange, const Tensor<float>& h,
                         Tensor<float>& dh) {
  const std::span<const float> weights = exchange.row_weights();
  if (weights.empty()) return;
  std::vector<float> gradients(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    for (std::int64_t c = 0; c < h.width(); ++c) gradients[i] += dh.row(row)[c] * h.row(row)[c];
  }
  exchange.take_row_weight_gradients(gradients);
  scale_rows(dh, weights);
}

PartGradients part_gradients(const Tensor<float>& x, const Tensor<float>& dy,
                             const RouteOutput& routed, const Tensor<float>& pre,
                             const ExpertWeights<float>& experts, const MoeConfig& config,
                             RankGrid& ranks) {
  // Forward, keeping what the backward pass needs.
  const auto exchange = make_exchange<float>(config, ranks.experts, std::nullopt);
  exchange->keep_for_backward();
  const std::vector<std::int64_t> sizes = exchange->dispatch(x, routed);
  const GroupSizes groups = sizes;
  Tensor<float> rows = all_rows(*exchange, config);          // X [r, d]
  Tensor<float> g = grouped_gemm(rows, groups, experts.w0);  // [r, H]
  Tensor<float> u = grouped_gemm(rows, groups, experts.w1);  // [r, H]
  Tensor<float> h = g;                                       // [r, H]
  activate(config.activation, config.swiglu_limit, h, u);
  Tensor<float> weighted = h;
  scale_rows(weighted, exchange->row_weights());
  const Tensor<float> y = grouped_down(weighted, groups, experts);  // [r, d]
  PartGradients result;
  result.output = exchange->combine(y);

  const Tensor<float> dys = exchange->gradients_of_results(dy, y);  // dY [r, d]
  result.d_wo = grouped_gemm_weight_gradient(weighted, dys, groups);
  Tensor<float> dh = grouped_gemm_input_gradient(dys, groups, experts.wo);  // [r, H]
  through_row_weights(*exchange, h, dh);
  activation_gradient(config.swiglu_limit, dh, g, u);  // now dg, du
  if (Tensor<float> again = exchange->rows_again(); again.shape().size() == 2)
    rows = std::move(again);
  result.d_w0 = grouped_gemm_weight_gradient(rows, g, groups);
  result.d_w1 = grouped_gemm_weight_gradient(rows, u, groups);
  Tensor<float> drows = grouped_gemm_input_gradient(g, groups, experts.w0);  // dX [r, d]
  const Tensor<float> from_up = grouped_gemm_input_gradient(u, groups, experts.w1);
  for (std::int64_t i = 0; i < drows.size(); ++i) drows.data()[i] += from_up.data()[i];
  result.dx = exchange->gradients_of_tokens(std::move(drows));
  result.d_pre = exchange->gradients_of_scores(pre);
  return result;
}

void add(Tensor<float>& sum, Tensor<float> more) {
  if (sum.shape().size() == 1) {  // nothing yet
    sum = std::move(more);
    return;
  }
  for (std::int64_t i = 0; i < sum.size(); ++i) sum.data()[i] += more.data()[i];
}

void check(const Tensor<float>& x, const Tensor<float>& dy, const MoeWeights<float>& weights,
           const MoeConfig& config, const RankGrid& ranks) {
  const RouterRule& rule = config.rule;
  if (rule.score != Score::sqrt_softplus || rule.weights != WeightRule::chosen_scores ||
      !rule.normalise || config.activation != Activation::swiglu)
    throw Error(ErrorKind::invalid_input, "gradients exist for the layer of DeepSeek-V4 only");
  if (ranks.tensors.size() > 1)
    throw Error(ErrorKind::invalid_input, "gradients exist without tensor ranks only");
  if (config.ragged_buffer_factor > 0)
    throw Error(ErrorKind::invalid_input, "gradients exist for dropless buffers only");
  if (!weights.experts.b0.empty())
    throw Error(ErrorKind::invalid_input, "gradients exist without expert biases only");
  require_shape(dy, x.shape(), "dy");
}

}  // namespace

Tensor<float> gradient_of_scores(const RouterRule& rule, const Tensor<float>& pre,
                                 const Choice& choice, const Tensor<float>& dw) {
  auto dpre = Tensor<float>::zeros(pre.shape());
  const std::int64_t k = rule.top_k;
  for (std::int64_t t = 0; t < pre.rows(); ++t) {
    const ExpertId* const ids = choice.ids.data() + t * k;
    float sum = 1e-20F, mean = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      sum += pre.row(t)[ids[j]];
      mean += dw.row(t)[j] * choice.weights.row(t)[j];
    }
    for (std::int64_t j = 0; j < k; ++j)
      dpre.row(t)[ids[j]] += (rule.scale * dw.row(t)[j] - mean) / sum;
  }
  return dpre;
}

MoeGradients routed_moe_gradients(const Tensor<float>& x, std::span<const std::int64_t> token_ids,
                                  const Tensor<float>& dy, const MoeWeights<float>& weights,
                                  const MoeConfig& config, const HashTable* table) {
  SingleRank alone;
  MoeConfig single = config;
  single.strategy = Strategy::ragged_all_to_all;
  single.ragged_buffer_factor = -1;
  return routed_moe_gradients(x, token_ids, dy, weights, single, table, alone.grid());
}

MoeGradients routed_moe_gradients(const Tensor<float>& x, std::span<const std::int64_t> token_ids,
                                  const Tensor<float>& dy, const MoeWeights<float>& weights,
                                  const MoeConfig& config, const HashTable* table,
                                  RankGrid& ranks) {
  check(x, dy, weights, config, ranks);
  const RouterRule& rule = config.rule;
  const std::int64_t tokens = x.rows(), d = x.width();
  const RouteOutput routed = route(x, token_ids, weights, config, table);
  const Tensor<float> z = gate_logits(x, weights.gate_kernel, rule);  // [T, E]
  Tensor<float> pre(z.shape());
  for (std::int64_t i = 0; i < z.size(); ++i) pre.data()[i] = sqrt_softplus(z.data()[i]);

  MoeGradients result;
  Tensor<float> dz;  // [T, E]: of the scores, then of the logits
  const auto parts = parts_of(config, tokens);
  if (parts.empty()) {
    PartGradients all = part_gradients(x, dy, routed, pre, weights.experts, config, ranks);
    result = {std::move(all.output), std::move(all.dx),   {},
              std::move(all.d_w0),   std::move(all.d_w1), std::move(all.d_wo)};
    dz = std::move(all.d_pre);
  } else {
    result.output = Tensor<float>(x.shape());
    result.dx = Tensor<float>(x.shape());
    dz = Tensor<float>(z.shape());
  }
  for (const std::vector<std::int64_t>& part : parts) {
    PartGradients some = part_gradients(chosen_rows(x, part), chosen_rows(dy, part),
                                        chosen_tokens(routed, rule.top_k, part),
                                        chosen_rows(pre, part), weights.experts, config, ranks);
    put_rows<float>(some.output, part, result.output);
    put_rows<float>(some.dx, part, result.dx);
    put_rows<float>(some.d_pre, part, dz);
    add(result.d_w0, std::move(some.d_w0));
    add(result.d_w1, std::move(some.d_w1));
    add(result.d_wo, std::move(some.d_wo));
  }

  // The router.
  for (std::int64_t i = 0; i < dz.size(); ++i) {
    const float a = pre.data()[i];
    dz.data()[i] = a > 0 ? dz.data()[i] * sigmoid(z.data()[i]) / (2 * a) : 0.0F;
  }
  result.d_gate_kernel = Tensor<float>({d, rule.experts});
  gemm(d, rule.experts, tokens, Operand<float>{x.data(), d, true},
       Operand<float>{dz.data(), rule.experts}, result.d_gate_kernel.data(), rule.experts, 0.0F);
  gemm(tokens, d, rule.experts, Operand<float>{dz.data(), rule.experts},
       Operand<float>{weights.gate_kernel.data(), rule.experts, true}, result.dx.data(), d, 1.0F);
  return result;
}

}  // namespace meshsim
