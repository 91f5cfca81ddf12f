// The dense path: no sorting, every expert has a fixed number of places per sequence, or all
// tokens.
//
//   B sequences of S tokens, C = expert_capacity; dispatch mask D[b,s,e,c] in {0, 1},
//   combine mask W[b,s,e,c] = weight of the slot that sits at place c < C of expert e
//   out[b,s] = sum_{e,c} W[b,s,e,c] FFN_e(sum_s' D[b,s',e,c] x[b,s'])
//
// Dropped slots contribute 0 and the others are not renormalised; a weight that is exactly 0 also
// un-dispatches. A token that names an expert twice counts once, the last weight wins.
// capacity_factor <= 0: all experts on all tokens, combined by the weight matrix [B, S, E].
#pragma once

#include <cstdint>

#include "moe/experts.hpp"
#include "moe/router.hpp"

namespace meshsim {

struct CapacityMasks {
  std::int64_t capacity = 0;      // C
  Tensor<std::int32_t> dispatch;  // [B, S, E, C]
  Tensor<float> combine;          // [B, S, E, C]
};

// ids [B S k], weights [B S, k].
CapacityMasks capacity_masks(const Choice& choice, std::int64_t batch, std::int64_t sequence,
                             std::int64_t experts, double capacity_factor);

// x [B S, d] -> [B S, d].
Tensor<float> dense_matmul(const Tensor<float>& x, const Choice& choice, std::int64_t sequence,
                           const ExpertWeights<float>& weights, Activation activation, float limit,
                           double capacity_factor);

}  // namespace meshsim
