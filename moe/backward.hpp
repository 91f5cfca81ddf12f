// Gradients of the routed experts of DeepSeek-V4, in float32, on one rank or many.
//
//   L = sum(dy y);  y[t] = sum_j w[t,j] Y[t,j];  Y = h wo;  h = silu(min(g, L)) clip(u, -L, L)
//   dw[t,j] = <Y[t,j], dy[t]>          dY[t,j] = w[t,j] dy[t]
//   dh = dY wo^T    dwo = h^T dY       through the clamps: 1 inside and at the limit, 0 outside
//   dX = dg w0^T + du w1^T             dw0 = X^T dg    dw1 = X^T du
//   w = scale a_j / (sum a + 1e-20), a = pre at the chosen ids:
//     da_j = (scale dw_j - sum_i dw_i w_i) / (sum a + 1e-20)
//   pre = sqrt(softplus(z)): dz = dpre sigmoid(z) / (2 pre);   dW_g = x^T dz;   dx += dz W_g^T
//
// The selection is a constant; the bias has no gradient.
#pragma once

#include "moe/moe_layer.hpp"

namespace meshsim {

struct MoeGradients {
  Tensor<float> output;         // [T, d] the forward result
  Tensor<float> dx;             // [T, d]
  Tensor<float> d_gate_kernel;  // [d, E]
  Tensor<float> d_w0, d_w1;     // [E, d, H]
  Tensor<float> d_wo;           // [E, H, d]
};

// `token_ids` and `table` for hash layers (or {} and nullptr). Throws Error(invalid_input) for
// another rule or activation than V4's, and for dy of another shape than x.
MoeGradients routed_moe_gradients(const Tensor<float>& x, std::span<const std::int64_t> token_ids,
                                  const Tensor<float>& dy, const MoeWeights<float>& weights,
                                  const MoeConfig& config, const HashTable* table);

// The same on many ranks, by config.strategy; every rank calls it with its own tokens and experts.
// d_w0, d_w1 and d_wo are those of the own experts, whole; the sum of d_gate_kernel over the ranks
// is the gradient of the gate. Throws Error(invalid_input) with tensor ranks, truncated buffers or
// expert biases.
MoeGradients routed_moe_gradients(const Tensor<float>& x, std::span<const std::int64_t> token_ids,
                                  const Tensor<float>& dy, const MoeWeights<float>& weights,
                                  const MoeConfig& config, const HashTable* table, RankGrid& ranks);

}  // namespace meshsim
