// Y = X W, each group of rows with its own matrix: the heart of an expert layer.
//
//   X [rows, k] sorted by group, W [G, k, n], group_sizes [G]; Y [rows, n]
//
// Groups lie one after another, without padding; a group without rows costs nothing. Rows beyond
// the last group are padding. Accumulates in float32; the result is rounded once, when it is stored
// in the element type.
#pragma once

#include <cstdint>
#include <span>

#include "moe/tensor.hpp"

namespace meshsim {

using GroupSizes = std::span<const std::int64_t>;

std::int64_t total_rows(GroupSizes group_sizes);

// `sums` [rows, n] in float32; `add` continues partial sums, W's rows [first, first + k) are used.
template <class T>
void grouped_gemm_partial(const Tensor<T>& x, GroupSizes group_sizes, const Tensor<T>& w,
                          std::int64_t first, bool add, Tensor<float>& sums);

// Rows beyond the groups are 0.
template <class T>
Tensor<T> grouped_gemm(const Tensor<T>& x, GroupSizes group_sizes, const Tensor<T>& w);

// dX = dY W^T, and dW[g] = X[g]^T dY[g] (zeros for an empty group). For float32.
Tensor<float> grouped_gemm_input_gradient(const Tensor<float>& dy, GroupSizes group_sizes,
                                          const Tensor<float>& w);
Tensor<float> grouped_gemm_weight_gradient(const Tensor<float>& x, const Tensor<float>& dy,
                                           GroupSizes group_sizes);

// Adds bias[g] to every row of group g: rows [rows, n], bias [G, n].
template <class T>
void add_group_bias(Tensor<T>& rows, GroupSizes group_sizes, const Tensor<T>& bias);

}  // namespace meshsim
