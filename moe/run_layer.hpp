// One layer of a validation run, on however many ranks: the same words for all of them and for the
// single rank that checks them.
#pragma once

#include "moe/moe_layer.hpp"
#include "moe/run_config.hpp"

namespace meshsim {

// Which layer of which step, and which tokens of the step.
struct LayerPlace {
  std::int64_t layer = 0, step = 0;
  std::int64_t first_token = 0;
  std::span<const std::int64_t> token_ids;  // [T]
};

template <class T>
struct LayerResult {
  MoeOutput<T> out;
  Tensor<T> dx;  // [T, d] for dy = y, if the run has a backward pass; else empty
};

// Of x [T, d], which is normalised first. Adds its bias update to `weights`.
template <class T>
LayerResult<T> run_layer(const RunConfig& run, const LayerPlace& place, const Tensor<T>& x,
                         MoeWeights<T>& weights, RankGrid& grid, Ledger& ledger);

// x += y, rounded to the element type.
template <class T>
void add_residual(Tensor<T>& x, const Tensor<T>& y);

}  // namespace meshsim
