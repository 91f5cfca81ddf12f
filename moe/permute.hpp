// Rows of tokens to rows of experts and back.
//
//   T tokens, k slots each, n = T k, slot s = t k + j;  order and inverse: routing/slot_order.hpp
//
//   permute     X_sorted[i] = x[order[i] div k], or the same as X_sorted[inverse[s]] = x[s div k]
//   unpermute   y[t] = sum_j w[t, j] Y[inverse[t k + j]]
#pragma once

#include <span>

#include "moe/tensor.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

// sorted[inverse[t k + j]] = rows[t]: every row of x goes to its k places and is read once. A slot
// whose inverse is -1 goes nowhere.
template <class T>
void fan_out_rows(const Tensor<T>& rows, std::span<const Slot> inverse, std::int64_t top_k,
                  Tensor<T>& sorted);

// sorted[i] = rows[order[i] div per_row] for i < order.size(); `sorted` may have more rows, which
// are left as they are. per_row = k for tokens, 1 for rows that are slots already.
template <class T>
void gather_rows(const Tensor<T>& rows, std::span<const Slot> order, std::int64_t per_row,
                 Tensor<T>& sorted);

// result[order[i]] = rows[i]: the inverse of gather_rows with per_row 1.
template <class T>
void scatter_rows(const Tensor<T>& rows, std::span<const Slot> order, Tensor<T>& result);

// y [T, d] from rows [>= n, d]. A slot whose inverse is -1 was dropped (or is not here) and
// contributes 0. `float32_weight_sum`: rows and weights are widened, summed over j in order and
// rounded once; otherwise every product and sum is rounded to the element type. Without weights
// (nullptr) the rows are summed.
template <class T>
void weighted_sum(const Tensor<T>& rows, std::span<const Slot> inverse, const float* weights,
                  std::int64_t top_k, bool float32_weight_sum, Tensor<T>& y);

}  // namespace meshsim
