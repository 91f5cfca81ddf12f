// The layer as its definition reads: loops over tokens, choices and columns, in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "moe/moe_layer.hpp"
#include "routing/random.hpp"

namespace meshsim::testing {

using Doubles = std::vector<double>;

inline float random_value(std::uint64_t seed, std::uint64_t i) {
  return static_cast<float>(2 * random_unit(seed, i) - 1);
}

inline Tensor<float> random_tensor(std::uint64_t seed, const Shape& shape, float scale = 1) {
  Tensor<float> tensor(shape);
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    tensor.data()[i] = scale * random_value(seed, static_cast<std::uint64_t>(i));
  return tensor;
}

struct Dims {
  std::int64_t tokens, embedding, width, experts, top_k;
};

inline MoeWeights<float> random_weights(std::uint64_t seed, const Dims& n, bool mlp_bias) {
  MoeWeights<float> w;
  w.gate_kernel = random_tensor(seed + 1, {n.embedding, n.experts});
  w.experts.w0 = random_tensor(seed + 2, {n.experts, n.embedding, n.width}, 0.7F);
  w.experts.w1 = random_tensor(seed + 3, {n.experts, n.embedding, n.width}, 0.7F);
  w.experts.wo = random_tensor(seed + 4, {n.experts, n.width, n.embedding}, 0.7F);
  if (mlp_bias) {
    w.experts.b0 = random_tensor(seed + 5, {n.experts, n.width});
    w.experts.b1 = random_tensor(seed + 6, {n.experts, n.width});
    w.experts.bo = random_tensor(seed + 7, {n.experts, n.embedding});
  }
  return w;
}

inline double naive_score(Score score, double z) {
  if (score == Score::sigmoid) return 1 / (1 + std::exp(-z));
  if (score == Score::sqrt_softplus)
    return std::sqrt(std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))));
  return z;
}

inline Doubles naive_softmax(const Doubles& z) {
  const double most = *std::max_element(z.begin(), z.end());
  Doubles p;
  double sum = 0;
  for (const double value : z) p.push_back(std::exp(value - most));
  for (const double value : p) sum += value;
  for (double& value : p) value /= sum;
  return p;
}

struct NaiveChoice {
  std::vector<std::int64_t> ids;  // [k]
  Doubles weights;                // [k]
};

// Weights of given ids, from one token's z and its biased scores.
inline Doubles naive_weights(const RouterRule& rule, const Doubles& z, const Doubles& pre,
                             const Doubles& biased, const std::vector<std::int64_t>& ids) {
  Doubles w;
  const Doubles all = naive_softmax(z);
  for (const std::int64_t e : ids) {
    const auto i = static_cast<std::size_t>(e);
    w.push_back(rule.weights == WeightRule::softmax_of_chosen ? biased[i]
                : rule.weights == WeightRule::softmax_of_all  ? all[i]
                : rule.weights == WeightRule::rows_by_sigmoid ? 1.0
                                                              : pre[i]);
  }
  if (rule.weights == WeightRule::softmax_of_chosen) w = naive_softmax(w);
  if (rule.normalise) {
    const double sum = std::accumulate(w.begin(), w.end(), 1e-20);
    for (double& value : w) value /= sum;
  }
  for (double& value : w) value *= rule.scale;
  return w;
}

// One token's choice: sort all experts by (biased descending, id ascending).
inline NaiveChoice naive_choice(const RouterRule& rule, const Doubles& z,
                                const std::vector<float>& bias) {
  Doubles pre;
  if (rule.score == Score::softmax) {
    pre = naive_softmax(z);
  } else {
    for (const double value : z) pre.push_back(naive_score(rule.score, value));
  }
  Doubles biased = pre;
  for (std::size_t e = 0; e < bias.size(); ++e) biased[e] += bias[e];
  std::vector<std::int64_t> order(z.size());
  std::iota(order.begin(), order.end(), 0);
  Doubles keys = biased;
  if (rule.groups != -1) {
    const std::size_t each = z.size() / static_cast<std::size_t>(rule.groups);
    std::vector<std::pair<double, std::size_t>> groups;
    for (std::size_t g = 0; g < static_cast<std::size_t>(rule.groups); ++g) {
      Doubles values(biased.begin() + static_cast<std::ptrdiff_t>(g * each),
                     biased.begin() + static_cast<std::ptrdiff_t>((g + 1) * each));
      std::sort(values.rbegin(), values.rend());
      groups.emplace_back(-(values[0] + values[1]), g);
    }
    std::sort(groups.begin(), groups.end());
    for (std::size_t i = static_cast<std::size_t>(rule.kept_groups); i < groups.size(); ++i)
      for (std::size_t e = 0; e < each; ++e) keys[groups[i].second * each + e] = -1e300;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return keys[static_cast<std::size_t>(a)] > keys[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(rule.top_k));
  return {order, naive_weights(rule, z, pre, biased, order)};
}

// z of one token.
inline Doubles naive_gate(const float* x, const Tensor<float>& gate) {
  const std::int64_t d = gate.shape()[0];
  Doubles z(static_cast<std::size_t>(gate.width()));
  for (std::int64_t e = 0; e < gate.width(); ++e)
    for (std::int64_t i = 0; i < d; ++i)
      z[static_cast<std::size_t>(e)] += static_cast<double>(x[i]) * gate.row(i)[e];
  return z;
}

// y += weight * expert e of the row x.
inline void add_naive_expert(const MoeConfig& config, const ExpertWeights<float>& w, std::int64_t e,
                             const float* x, double weight, Doubles& y) {
  const std::int64_t d = w.w0.shape()[1], width = w.w0.width();
  const double limit = config.swiglu_limit > 0 ? config.swiglu_limit : 1e300;
  for (std::int64_t h = 0; h < width; ++h) {
    double g = w.b0.empty() ? 0 : w.b0.row(e)[h], u = w.b1.empty() ? 0 : w.b1.row(e)[h];
    for (std::int64_t i = 0; i < d; ++i) {
      g += static_cast<double>(x[i]) * w.w0.matrix(e)[i * width + h];
      u += static_cast<double>(x[i]) * w.w1.matrix(e)[i * width + h];
    }
    g = std::min(g, limit);
    u = std::clamp(u, -limit, limit);
    const double act = config.activation == Activation::gpt_oss
                           ? g / (1 + std::exp(-1.702 * g)) * (u + 1)
                           : g / (1 + std::exp(-g)) * u;
    for (std::int64_t i = 0; i < d; ++i)
      y[static_cast<std::size_t>(i)] += weight * act * w.wo.matrix(e)[h * d + i];
  }
  if (!w.bo.empty())
    for (std::int64_t i = 0; i < d; ++i) y[static_cast<std::size_t>(i)] += weight * w.bo.row(e)[i];
}

// The routed layer, [T, d]; with a table, the ids of each token come from it.
inline std::vector<Doubles> naive_layer(const Tensor<float>& x, const MoeWeights<float>& w,
                                        const MoeConfig& config,
                                        const std::vector<std::int64_t>& token_ids = {},
                                        const HashTable* table = nullptr) {
  std::vector<Doubles> y;
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    const Doubles z = naive_gate(x.row(t), w.gate_kernel);
    NaiveChoice choice =
        naive_choice(config.rule, z, table != nullptr ? std::vector<float>{} : w.bias);
    if (table != nullptr) {
      const auto row = table->row(token_ids[static_cast<std::size_t>(t)]);
      choice.ids.assign(row.begin(), row.end());
      Doubles pre;
      for (const double value : z) pre.push_back(naive_score(config.rule.score, value));
      choice.weights = naive_weights(config.rule, z, pre, pre, choice.ids);
    }
    std::vector<float> row(x.row(t), x.row(t) + x.width());
    if (config.rule.weights == WeightRule::rows_by_sigmoid)
      for (float& value : row)
        value *= static_cast<float>(
            naive_score(Score::sigmoid, z[static_cast<std::size_t>(choice.ids[0])]));
    y.emplace_back(static_cast<std::size_t>(x.width()));
    for (std::size_t j = 0; j < choice.ids.size(); ++j)
      add_naive_expert(config, w.experts, choice.ids[j], row.data(), choice.weights[j], y.back());
  }
  return y;
}

inline double largest_difference(const Tensor<float>& y, const std::vector<Doubles>& naive) {
  double most = 0;
  for (std::size_t t = 0; t < naive.size(); ++t)
    for (std::size_t i = 0; i < naive[t].size(); ++i)
      most = std::max(most, std::abs(y.row(static_cast<std::int64_t>(t))[i] - naive[t][i]));
  return most;
}

}  // namespace meshsim::testing
