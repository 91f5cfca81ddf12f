#include "moe/run_weights.hpp"

#include <cmath>

#include "routing/random.hpp"

namespace meshsim {
namespace {

enum Part : std::uint64_t {
  gate,
  up0,
  up1,
  down,
  bias0,
  bias1,
  bias_down,
  shared0,
  shared1,
  shared_down,
  parts
};

// Elements [first, first + size) of the endless row that (seed, layer, part) names.
template <class T>
Tensor<T> drawn(const RunConfig& run, std::int64_t layer, Part part, const Shape& shape,
                std::int64_t first, double size) {
  const std::uint64_t seed =
      sub_seed(sub_seed(run.seed, 3), static_cast<std::uint64_t>(layer) * parts + part);
  Tensor<T> tensor(shape);
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = from_float<T>(static_cast<float>(
        size * (2 * random_unit(seed, static_cast<std::uint64_t>(first + i)) - 1)));
  return tensor;
}

double spread(std::int64_t columns) { return std::sqrt(3.0 / static_cast<double>(columns)); }

}  // namespace

template <class T>
MoeWeights<T> drawn_weights(const RunConfig& run, std::int64_t layer, std::int64_t expert_rank,
                            std::int64_t expert_ranks, std::int64_t tensor_rank,
                            std::int64_t tensor_ranks) {
  const MoeConfig& moe = run.moe;
  const std::int64_t d = moe.embedding, width = moe.width, experts = moe.rule.experts;
  const std::int64_t local = experts / expert_ranks, first = expert_rank * local;
  MoeWeights<T> w;
  w.gate_kernel = drawn<T>(run, layer, gate, {d, experts}, 0, spread(d));
  if (moe.rule.bias) w.bias.assign(static_cast<std::size_t>(experts), 0.0F);
  ExpertWeights<T> all;
  all.w0 = drawn<T>(run, layer, up0, {local, d, width}, first * d * width, spread(d));
  all.w1 = drawn<T>(run, layer, up1, {local, d, width}, first * d * width, spread(d));
  all.wo = drawn<T>(run, layer, down, {local, width, d}, first * d * width, spread(width));
  if (run.mlp_bias) {
    all.b0 = drawn<T>(run, layer, bias0, {local, width}, first * width, 0.1);
    all.b1 = drawn<T>(run, layer, bias1, {local, width}, first * width, 0.1);
    all.bo = drawn<T>(run, layer, bias_down, {local, d}, first * d, 0.1);
  }
  w.experts =
      tensor_ranks == 1 ? std::move(all) : shard_of(all, 0, local, tensor_rank, tensor_ranks);
  if (moe.shared_width > 0) {
    const std::int64_t wide = moe.shared_width;
    w.shared.w0 = drawn<T>(run, layer, shared0, {1, d, wide}, 0, spread(d));
    w.shared.w1 = drawn<T>(run, layer, shared1, {1, d, wide}, 0, spread(d));
    w.shared.wo = drawn<T>(run, layer, shared_down, {1, wide, d}, 0, spread(wide));
  }
  return w;
}

template <class T>
Tensor<T> embedded(const RunConfig& run, std::span<const std::int64_t> token_ids) {
  const std::int64_t d = run.moe.embedding;
  const std::uint64_t seed = sub_seed(run.seed, 4);
  Tensor<T> x({static_cast<std::int64_t>(token_ids.size()), d});
  for (std::int64_t t = 0; t < x.rows(); ++t)
    for (std::int64_t i = 0; i < d; ++i)
      x.row(t)[i] = from_float<T>(static_cast<float>(
          2 * random_unit(seed, static_cast<std::uint64_t>(
                                    token_ids[static_cast<std::size_t>(t)] * d + i)) -
          1));
  return x;
}

template <class T>
Tensor<T> rms_normalised(const Tensor<T>& x) {
  Tensor<T> y(x.shape());
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < x.width(); ++i)
      squares += static_cast<double>(to_float(x.row(t)[i])) * to_float(x.row(t)[i]);
    const auto scale =
        static_cast<float>(1 / std::sqrt(squares / static_cast<double>(x.width()) + 1e-6));
    for (std::int64_t i = 0; i < x.width(); ++i)
      y.row(t)[i] = from_float<T>(to_float(x.row(t)[i]) * scale);
  }
  return y;
}

#define MESHSIM_RUN_WEIGHTS(T)                                                                     \
  template MoeWeights<T> drawn_weights(const RunConfig&, std::int64_t, std::int64_t, std::int64_t, \
                                       std::int64_t, std::int64_t);                                \
  template Tensor<T> embedded(const RunConfig&, std::span<const std::int64_t>);                    \
  template Tensor<T> rms_normalised(const Tensor<T>&)
MESHSIM_RUN_WEIGHTS(float);
MESHSIM_RUN_WEIGHTS(Bf16);

}  // namespace meshsim
