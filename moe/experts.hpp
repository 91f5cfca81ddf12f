// Experts: two up-projections, an activation, a down-projection, for all experts of a shard at
// once.
//
//   g = x w0[e] (+ b0[e])   u = x w1[e] (+ b1[e])   h = act(g, u)   y = h wo[e] (+ bo[e])
//   e_l local experts, d embedding, H expert width (divided by the tensor ranks)
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "moe/grouped_gemm.hpp"
#include "moe/scores.hpp"
#include "moe/tensor.hpp"

namespace meshsim {

enum class Activation {
  swiglu,   // silu(g) u; with a limit L > 0: silu(min(g, L)) clip(u, -L, L)
  gpt_oss,  // g sigmoid(1.702 g) (u + 1), both clamped by L
};

template <class T>
struct ExpertWeights {
  Tensor<T> w0, w1;  // [e_l, d, H] gate and up
  Tensor<T> wo;      // [e_l, H, d] down
  Tensor<T> b0, b1;  // [e_l, H], empty without mlp_bias
  Tensor<T> bo;      // [e_l, d], empty without mlp_bias

  std::int64_t experts() const { return w0.shape()[0]; }
};

// Throws Error(invalid_input) that names a tensor: a wrong shape, or NaN or infinity in it.
template <class T>
void check_weights(const ExpertWeights<T>& weights, std::int64_t experts, std::int64_t embedding,
                   std::int64_t width, const std::string& prefix = "");

// h [rows, H] in place of g; the result is in the element type.
template <class T>
void activate(Activation activation, float limit, Tensor<T>& g, const Tensor<T>& u);

// The up-projections and the activation, h [R, H], from rows that come in `chunks` column slices:
// rows(c) is [R, d / chunks]. With one chunk each product is rounded to the element type once; with
// more, partial sums [R, 2 x H] stay in float32 until the last chunk, where the biases are added.
template <class T>
Tensor<T> grouped_up(const std::function<Tensor<T>(std::int64_t)>& rows, std::int64_t chunks,
                     GroupSizes group_sizes, const ExpertWeights<T>& weights, Activation activation,
                     float limit);

// y [R, d] without bo: that follows a tensor-parallel reduction.
template <class T>
Tensor<T> grouped_down(const Tensor<T>& h, GroupSizes group_sizes, const ExpertWeights<T>& weights);

// Experts [first, first + count) of all of them, and the slice [x H/X, (x+1) H/X) of their width.
template <class T>
ExpertWeights<T> shard_of(const ExpertWeights<T>& all, std::int64_t first, std::int64_t count,
                          std::int64_t tensor_rank = 0, std::int64_t tensor_ranks = 1);

}  // namespace meshsim
