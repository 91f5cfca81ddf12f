#include "moe/run_layer.hpp"

#include "moe/backward.hpp"
#include "moe/run_weights.hpp"
#include "routing/random.hpp"

namespace meshsim {

template <class T>
LayerResult<T> run_layer(const RunConfig& run, const LayerPlace& place, const Tensor<T>& x,
                         MoeWeights<T>& weights, RankGrid& grid, Ledger& ledger) {
  RandomDraw draw{
      sub_seed(run.seed, static_cast<std::uint64_t>(5 + place.step * run.layers + place.layer)),
      {}};
  for (std::int64_t t = 0; t < x.rows(); ++t) draw.tokens.push_back(place.first_token + t);
  const RoutedAndSharedMoE<T> layer(run.moe, weights, place.layer, &run.table);
  const Tensor<T> normalised = rms_normalised(x);
  ledger = {};
  LayerResult<T> result{layer(normalised, place.token_ids, grid, draw), {}};
  if constexpr (std::is_same_v<T, float>) {
    if (run.backward) {
      ledger = {};  // of both passes: the gradients need the forward pass again
      result.dx = std::move(
          routed_moe_gradients(normalised, place.token_ids, result.out.y, weights, run.moe,
                               run.moe.hashes(place.layer) ? &run.table : nullptr, grid)
              .dx);
    }
  }
  for (std::size_t e = 0; e < result.out.bias_update.size(); ++e)
    weights.bias[e] += result.out.bias_update[e];
  return result;
}

template <class T>
void add_residual(Tensor<T>& x, const Tensor<T>& y) {
  for (std::int64_t i = 0; i < x.size(); ++i)
    x.data()[i] = from_float<T>(to_float(x.data()[i]) + to_float(y.data()[i]));
}

#define MESHSIM_RUN_LAYER(T)                                                               \
  template LayerResult<T> run_layer(const RunConfig&, const LayerPlace&, const Tensor<T>&, \
                                    MoeWeights<T>&, RankGrid&, Ledger&);                   \
  template void add_residual(Tensor<T>&, const Tensor<T>&)
MESHSIM_RUN_LAYER(float);
MESHSIM_RUN_LAYER(Bf16);

}  // namespace meshsim
