#include "moe/dense_matmul.hpp"

#include "routing/capacity.hpp"

namespace meshsim {
namespace {

// Weight of each token for each expert, [T, E]; a later choice of the same expert replaces it.
Tensor<float> weight_matrix(const Choice& choice, std::int64_t experts) {
  auto matrix = Tensor<float>::zeros({choice.weights.rows(), experts});
  const std::int64_t k = choice.weights.width();
  for (std::int64_t t = 0; t < matrix.rows(); ++t)
    for (std::int64_t j = 0; j < k; ++j)
      matrix.row(t)[choice.ids[static_cast<std::size_t>(t * k + j)]] = choice.weights.row(t)[j];
  return matrix;
}

// FFN of all experts, each on an equal share of `rows` [E n, d].
Tensor<float> all_experts(Tensor<float> rows, const ExpertWeights<float>& weights,
                          Activation activation, float limit) {
  const std::vector<std::int64_t> groups(static_cast<std::size_t>(weights.experts()),
                                         rows.rows() / weights.experts());
  const Tensor<float> h = grouped_up<float>([&](std::int64_t) { return std::move(rows); }, 1,
                                            groups, weights, activation, limit);
  Tensor<float> y = grouped_down(h, groups, weights);
  if (!weights.bo.empty()) add_group_bias(y, groups, weights.bo);
  return y;
}

void add_scaled_row(const float* row, float weight, std::int64_t width, float* sum) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] += weight * row[c];
}

Tensor<float> dropless(const Tensor<float>& x, const Choice& choice,
                       const ExpertWeights<float>& weights, Activation activation, float limit) {
  const std::int64_t tokens = x.rows(), experts = weights.experts();
  Tensor<float> copies({experts * tokens, x.width()});  // every token for every expert
  for (std::int64_t e = 0; e < experts; ++e)
    std::copy_n(x.data(), x.size(), copies.row(e * tokens));
  const Tensor<float> y = all_experts(std::move(copies), weights, activation, limit);
  const Tensor<float> w = weight_matrix(choice, experts);
  auto out = Tensor<float>::zeros(x.shape());
  for (std::int64_t e = 0; e < experts; ++e)
    for (std::int64_t t = 0; t < tokens; ++t)
      add_scaled_row(y.row(e * tokens + t), w.row(t)[e], x.width(), out.row(t));
  return out;
}

}  // namespace

CapacityMasks capacity_masks(const Choice& choice, std::int64_t batch, std::int64_t sequence,
                             std::int64_t experts, double capacity_factor) {
  const std::int64_t k = choice.weights.width();
  CapacityMasks masks;
  masks.capacity = expert_capacity(sequence, k, experts, capacity_factor);
  const Shape shape{batch, sequence, experts, masks.capacity};
  masks.dispatch = Tensor<std::int32_t>::zeros(shape);
  masks.combine = Tensor<float>::zeros(shape);
  const Tensor<float> w = weight_matrix(choice, experts);
  const auto ranks = capacity_ranks(choice.ids, experts, sequence * k);
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(choice.ids.size()); ++s) {
    const auto slot = static_cast<std::size_t>(s);
    const std::int64_t token = s / k, e = choice.ids[slot];
    if (ranks[slot] >= masks.capacity) continue;
    const float weight = w.row(token)[e];
    const std::int64_t place = (token * experts + e) * masks.capacity + ranks[slot];
    masks.combine.data()[place] = weight;
    masks.dispatch.data()[place] = weight != 0 ? 1 : 0;
  }
  return masks;
}

Tensor<float> dense_matmul(const Tensor<float>& x, const Choice& choice, std::int64_t sequence,
                           const ExpertWeights<float>& weights, Activation activation, float limit,
                           double capacity_factor) {
  if (capacity_factor <= 0) return dropless(x, choice, weights, activation, limit);
  const std::int64_t experts = weights.experts(), batch = x.rows() / sequence;
  const CapacityMasks masks = capacity_masks(choice, batch, sequence, experts, capacity_factor);
  const std::int64_t capacity = masks.capacity;
  // Calls visit(row of [E, B, C], token, combine weight) for every filled place.
  const auto for_each_place = [&](auto visit) {
    for (std::int64_t token = 0; token < x.rows(); ++token)
      for (std::int64_t e = 0; e < experts; ++e)
        for (std::int64_t c = 0; c < capacity; ++c) {
          const std::int64_t place = (token * experts + e) * capacity + c;
          if (masks.dispatch.data()[place] != 0)
            visit((e * batch + token / sequence) * capacity + c, token,
                  masks.combine.data()[place]);
        }
  };
  auto rows = Tensor<float>::zeros({experts * batch * capacity, x.width()});  // [E B C, d]
  for_each_place([&](std::int64_t row, std::int64_t token, float) {
    add_scaled_row(x.row(token), 1, x.width(), rows.row(row));
  });
  const Tensor<float> y = all_experts(std::move(rows), weights, activation, limit);
  auto out = Tensor<float>::zeros(x.shape());
  for_each_place([&](std::int64_t row, std::int64_t token, float weight) {
    add_scaled_row(y.row(row), weight, x.width(), out.row(token));
  });
  return out;
}

}  // namespace meshsim
