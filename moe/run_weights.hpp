// Weights and tokens of a validation run, drawn from its seed.
#pragma once

#include "moe/moe_layer.hpp"
#include "moe/run_config.hpp"

namespace meshsim {

// Layer weights for the rank at (p, x) of the grid. Uniform, with the variance that keeps rows at
// their size: 1/d for what multiplies d columns, 1/H for wo.
template <class T>
MoeWeights<T> drawn_weights(const RunConfig& run, std::int64_t layer, std::int64_t expert_rank,
                            std::int64_t expert_ranks, std::int64_t tensor_rank,
                            std::int64_t tensor_ranks);

// One row per token id, [T, d], uniform in [-1, 1).
template <class T>
Tensor<T> embedded(const RunConfig& run, std::span<const std::int64_t> token_ids);

// x / sqrt(mean(x^2) + 1e-6), per row.
template <class T>
Tensor<T> rms_normalised(const Tensor<T>& x);

}  // namespace meshsim
