#include "moe/grouped_gemm.hpp"

#include <algorithm>
#include <numeric>

#include "moe/bfloat16_rows.hpp"
#include "moe/gemm.hpp"

namespace meshsim {
namespace {

// Calls run(group, first row, rows) for the groups that have rows.
template <class Run>
void for_each_group(GroupSizes group_sizes, Run run) {
  std::int64_t row = 0;
  for (std::size_t g = 0; g < group_sizes.size(); ++g) {
    if (group_sizes[g] > 0) run(static_cast<std::int64_t>(g), row, group_sizes[g]);
    row += group_sizes[g];
  }
}

template <class T>
void clear_padding(Tensor<T>& rows, GroupSizes group_sizes) {
  const std::int64_t used = total_rows(group_sizes) * rows.width();
  std::fill(rows.data() + used, rows.data() + rows.size(), from_float<T>(0));
}

}  // namespace

std::int64_t total_rows(GroupSizes group_sizes) {
  return std::accumulate(group_sizes.begin(), group_sizes.end(), std::int64_t{0});
}

template <class T>
void grouped_gemm_partial(const Tensor<T>& x, GroupSizes group_sizes, const Tensor<T>& w,
                          std::int64_t first, bool add, Tensor<float>& sums) {
  const std::int64_t k = x.width(), n = w.width();
  for_each_group(group_sizes, [&](std::int64_t g, std::int64_t row, std::int64_t rows) {
    gemm(rows, n, k, Operand<T>{x.row(row), k}, Operand<T>{w.matrix(g) + first * n, n},
         sums.row(row), n, add ? 1.0F : 0.0F);
  });
}

template <>
Tensor<float> grouped_gemm(const Tensor<float>& x, GroupSizes group_sizes, const Tensor<float>& w) {
  Tensor<float> y({x.rows(), w.width()});
  grouped_gemm_partial(x, group_sizes, w, 0, false, y);
  clear_padding(y, group_sizes);
  return y;
}

template <>
Tensor<Bf16> grouped_gemm(const Tensor<Bf16>& x, GroupSizes group_sizes, const Tensor<Bf16>& w) {
  const std::int64_t k = x.width(), n = w.width();
  Tensor<Bf16> y({x.rows(), n});
  const std::int64_t most =
      group_sizes.empty() ? 0 : *std::max_element(group_sizes.begin(), group_sizes.end());
  Tensor<float> sums({most, n});  // of one group
  for_each_group(group_sizes, [&](std::int64_t g, std::int64_t row, std::int64_t rows) {
    gemm(rows, n, k, Operand<Bf16>{x.row(row), k}, Operand<Bf16>{w.matrix(g), n}, sums.data(), n,
         0.0F);
    narrow(sums.data(), rows * n, y.row(row));
  });
  clear_padding(y, group_sizes);
  return y;
}

Tensor<float> grouped_gemm_input_gradient(const Tensor<float>& dy, GroupSizes group_sizes,
                                          const Tensor<float>& w) {
  const std::int64_t k = w.shape()[1], n = w.width();
  Tensor<float> dx({dy.rows(), k});
  for_each_group(group_sizes, [&](std::int64_t g, std::int64_t row, std::int64_t rows) {
    gemm(rows, k, n, Operand<float>{dy.row(row), n}, Operand<float>{w.matrix(g), n, true},
         dx.row(row), k, 0.0F);
  });
  clear_padding(dx, group_sizes);
  return dx;
}

Tensor<float> grouped_gemm_weight_gradient(const Tensor<float>& x, const Tensor<float>& dy,
                                           GroupSizes group_sizes) {
  const std::int64_t k = x.width(), n = dy.width();
  auto dw = Tensor<float>::zeros({static_cast<std::int64_t>(group_sizes.size()), k, n});
  for_each_group(group_sizes, [&](std::int64_t g, std::int64_t row, std::int64_t rows) {
    gemm(k, n, rows, Operand<float>{x.row(row), k, true}, Operand<float>{dy.row(row), n},
         dw.matrix(g), n, 0.0F);
  });
  return dw;
}

template <class T>
void add_group_bias(Tensor<T>& rows, GroupSizes group_sizes, const Tensor<T>& bias) {
  for_each_group(group_sizes, [&](std::int64_t g, std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count; ++i)
      for (std::int64_t c = 0; c < rows.width(); ++c)
        rows.row(i)[c] = from_float<T>(to_float(rows.row(i)[c]) + to_float(bias.row(g)[c]));
  });
}

template void grouped_gemm_partial(const Tensor<float>&, GroupSizes, const Tensor<float>&,
                                   std::int64_t, bool, Tensor<float>&);
template void grouped_gemm_partial(const Tensor<Bf16>&, GroupSizes, const Tensor<Bf16>&,
                                   std::int64_t, bool, Tensor<float>&);
template void add_group_bias(Tensor<float>&, GroupSizes, const Tensor<float>&);
template void add_group_bias(Tensor<Bf16>&, GroupSizes, const Tensor<Bf16>&);

}  // namespace meshsim
