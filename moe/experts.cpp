#include "moe/experts.hpp"

#include <algorithm>
#include <vector>

#include "moe/bfloat16_rows.hpp"

namespace meshsim {
namespace {

void activate_row(Activation activation, float limit, float* g, const float* u,
                  std::int64_t count) {
  if (activation == Activation::gpt_oss) {
    gpt_oss_glu(g, u, count, limit, g);
  } else {
    swiglu(g, u, count, limit, g);
  }
}

template <class T>
Tensor<T> rounded(Tensor<float> sums) {
  if constexpr (std::is_same_v<T, float>) {
    return sums;
  } else {
    return to_bf16(sums);
  }
}

// Columns [first, first + count) of each matrix of a tensor [E, m, n].
template <class T>
Tensor<T> column_slice(const Tensor<T>& all, std::int64_t first, std::int64_t count) {
  Shape shape = all.shape();
  shape.back() = count;
  Tensor<T> slice(shape);
  for (std::int64_t i = 0; i < slice.rows(); ++i)
    std::copy_n(all.row(i) + first, count, slice.row(i));
  return slice;
}

// Matrices [first, first + count) of a tensor [E, ...]; empty stays empty.
template <class T>
Tensor<T> outer_slice(const Tensor<T>& all, std::int64_t first, std::int64_t count) {
  if (all.empty()) return {};
  const std::int64_t each = all.size() / all.shape()[0];
  Shape shape = all.shape();
  shape[0] = count;
  Tensor<T> slice(shape);
  std::copy_n(all.data() + first * each, count * each, slice.data());
  return slice;
}

}  // namespace

template <class T>
void check_weights(const ExpertWeights<T>& weights, std::int64_t experts, std::int64_t embedding,
                   std::int64_t width, const std::string& prefix) {
  const auto check = [&](const Tensor<T>& tensor, const Shape& shape, const std::string& name) {
    require_shape(tensor, shape, prefix + name);
    require_finite(tensor, prefix + name);
  };
  check(weights.w0, {experts, embedding, width}, "w0");
  check(weights.w1, {experts, embedding, width}, "w1");
  check(weights.wo, {experts, width, embedding}, "wo");
  if (!weights.b0.empty()) check(weights.b0, {experts, width}, "w0_bias");
  if (!weights.b1.empty()) check(weights.b1, {experts, width}, "w1_bias");
  if (!weights.bo.empty()) check(weights.bo, {experts, embedding}, "wo_bias");
}

template <class T>
void activate(Activation activation, float limit, Tensor<T>& g, const Tensor<T>& u) {
  if constexpr (std::is_same_v<T, float>) {
    activate_row(activation, limit, g.data(), u.data(), g.size());
  } else {
    std::vector<float> wide_g(static_cast<std::size_t>(g.width())), wide_u(wide_g.size());
    for (std::int64_t i = 0; i < g.rows(); ++i) {
      widen(g.row(i), g.width(), wide_g.data());
      widen(u.row(i), u.width(), wide_u.data());
      activate_row(activation, limit, wide_g.data(), wide_u.data(), g.width());
      narrow(wide_g.data(), g.width(), g.row(i));
    }
  }
}

template <class T>
Tensor<T> grouped_up(const std::function<Tensor<T>(std::int64_t)>& rows, std::int64_t chunks,
                     GroupSizes group_sizes, const ExpertWeights<T>& weights, Activation activation,
                     float limit) {
  Tensor<T> g, u;  // [R, H]
  if (chunks == 1) {
    const Tensor<T> x = rows(0);  // [R, d]
    g = grouped_gemm(x, group_sizes, weights.w0);
    u = grouped_gemm(x, group_sizes, weights.w1);
  } else {
    Tensor<float> g_sums, u_sums;  // [R, H]
    for (std::int64_t c = 0, first = 0; c < chunks; ++c) {
      const Tensor<T> x = rows(c);  // [R, d / chunks]
      if (c == 0) {
        g_sums = Tensor<float>::zeros({x.rows(), weights.w0.width()});
        u_sums = Tensor<float>::zeros({x.rows(), weights.w1.width()});
      }
      grouped_gemm_partial(x, group_sizes, weights.w0, first, c > 0, g_sums);
      grouped_gemm_partial(x, group_sizes, weights.w1, first, c > 0, u_sums);
      first += x.width();
    }
    g = rounded<T>(std::move(g_sums));
    u = rounded<T>(std::move(u_sums));
  }
  if (!weights.b0.empty()) add_group_bias(g, group_sizes, weights.b0);
  if (!weights.b1.empty()) add_group_bias(u, group_sizes, weights.b1);
  activate(activation, limit, g, u);
  return g;
}

template <class T>
Tensor<T> grouped_down(const Tensor<T>& h, GroupSizes group_sizes,
                       const ExpertWeights<T>& weights) {
  return grouped_gemm(h, group_sizes, weights.wo);
}

template <class T>
ExpertWeights<T> shard_of(const ExpertWeights<T>& all, std::int64_t first, std::int64_t count,
                          std::int64_t tensor_rank, std::int64_t tensor_ranks) {
  ExpertWeights<T> shard;
  shard.w0 = outer_slice(all.w0, first, count);
  shard.w1 = outer_slice(all.w1, first, count);
  shard.wo = outer_slice(all.wo, first, count);
  shard.b0 = outer_slice(all.b0, first, count);
  shard.b1 = outer_slice(all.b1, first, count);
  shard.bo = outer_slice(all.bo, first, count);
  if (tensor_ranks == 1) return shard;
  const std::int64_t width = all.w0.width() / tensor_ranks, from = tensor_rank * width;
  shard.w0 = column_slice(shard.w0, from, width);
  shard.w1 = column_slice(shard.w1, from, width);
  Tensor<T> wo({count, width, all.wo.width()});
  for (std::int64_t e = 0; e < count; ++e)
    std::copy_n(shard.wo.matrix(e) + from * wo.width(), width * wo.width(), wo.matrix(e));
  shard.wo = std::move(wo);
  if (!shard.b0.empty()) shard.b0 = column_slice(shard.b0, from, width);
  if (!shard.b1.empty()) shard.b1 = column_slice(shard.b1, from, width);
  return shard;
}

#define MESHSIM_EXPERTS(T)                                                                       \
  template void check_weights(const ExpertWeights<T>&, std::int64_t, std::int64_t, std::int64_t, \
                              const std::string&);                                               \
  template void activate(Activation, float, Tensor<T>&, const Tensor<T>&);                       \
  template Tensor<T> grouped_up(const std::function<Tensor<T>(std::int64_t)>&, std::int64_t,     \
                                GroupSizes, const ExpertWeights<T>&, Activation, float);         \
  template Tensor<T> grouped_down(const Tensor<T>&, GroupSizes, const ExpertWeights<T>&);        \
  template ExpertWeights<T> shard_of(const ExpertWeights<T>&, std::int64_t, std::int64_t,        \
                                     std::int64_t, std::int64_t)
MESHSIM_EXPERTS(float);
MESHSIM_EXPERTS(Bf16);

}  // namespace meshsim
