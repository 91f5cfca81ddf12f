// z = x W for the gate: a token's logits do not depend on which tokens stand beside it.
//
//   x [T, d], W [d, E] -> z [T, E] in float32
//
// A GEMM library chooses its kernel, and with it the order of a sum, by the number of rows: the
// same token could get other last bits on another number of ranks, and a near tie another expert.
// Here every logit is summed in one order: over d in stretches of 256, the stretches one after
// another.
#pragma once

#include "moe/tensor.hpp"

namespace meshsim {

template <class T>
Tensor<float> gate_product(const Tensor<T>& x, const Tensor<T>& w);

}  // namespace meshsim
