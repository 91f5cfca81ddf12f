#include "moe/permute.hpp"

#include <algorithm>
#include <cstring>

#include "moe/bfloat16_rows.hpp"
#include "moe/clones.hpp"

namespace meshsim {
namespace {

MESHSIM_CLONES void add_scaled(const float* row, float weight, std::int64_t width, float* sum) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] += weight * row[c];
}

MESHSIM_CLONES void set_scaled(const float* row, float weight, std::int64_t width, float* sum) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] = weight * row[c];
}

// All k rows in one pass over the columns, so that the sum is written once.
MESHSIM_CLONES void sum_of_six(const float* const* rows, const float* w, std::int64_t width,
                               float* sum) {
  for (std::int64_t c = 0; c < width; ++c)
    sum[c] = ((((w[0] * rows[0][c] + w[1] * rows[1][c]) + w[2] * rows[2][c]) + w[3] * rows[3][c]) +
              w[4] * rows[4][c]) +
             w[5] * rows[5][c];
}

void sum_rows(std::span<const float* const> rows, const float* weights, std::int64_t width,
              float* sum) {
  if (rows.size() == 6) {  // DeepSeek-V4
    sum_of_six(rows.data(), weights, width, sum);
    return;
  }
  if (rows.empty()) std::fill_n(sum, width, 0.0F);
  for (std::size_t j = 0; j < rows.size(); ++j)
    (j == 0 ? set_scaled : add_scaled)(rows[j], weights[j], width, sum);
}

template <class T>
void sum_in_model_dtype(std::span<const T* const> rows, const float* weights, std::int64_t width,
                        T* sum) {
  for (std::int64_t c = 0; c < width; ++c) {
    T total = from_float<T>(0);
    for (std::size_t j = 0; j < rows.size(); ++j) {
      const T product = from_float<T>(to_float(from_float<T>(weights[j])) * to_float(rows[j][c]));
      total = from_float<T>(to_float(total) + to_float(product));
    }
    sum[c] = total;
  }
}

void sum_widened(std::span<const float* const> rows, const float* weights, std::int64_t width,
                 std::vector<float>&, float* sum) {
  sum_rows(rows, weights, width, sum);
}

MESHSIM_CLONES void add_widened(const Bf16* row, float weight, std::int64_t width, float* sum) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] += weight * to_float(row[c]);
}

void sum_widened(std::span<const Bf16* const> rows, const float* weights, std::int64_t width,
                 std::vector<float>& sums, Bf16* sum) {
  sums.assign(static_cast<std::size_t>(width), 0.0F);
  for (std::size_t j = 0; j < rows.size(); ++j)
    add_widened(rows[j], weights[j], width, sums.data());
  narrow(sums.data(), width, sum);
}

}  // namespace

template <class T>
void fan_out_rows(const Tensor<T>& rows, std::span<const Slot> inverse, std::int64_t top_k,
                  Tensor<T>& sorted) {
  const std::size_t bytes = static_cast<std::size_t>(rows.width()) * sizeof(T);
  for (std::int64_t t = 0; t < rows.rows(); ++t)
    for (std::int64_t j = 0; j < top_k; ++j) {
      const Slot row = inverse[static_cast<std::size_t>(t * top_k + j)];
      if (row >= 0) std::memcpy(sorted.row(row), rows.row(t), bytes);
    }
}

template <class T>
void gather_rows(const Tensor<T>& rows, std::span<const Slot> order, std::int64_t per_row,
                 Tensor<T>& sorted) {
  const std::size_t bytes = static_cast<std::size_t>(rows.width()) * sizeof(T);
  for (std::size_t i = 0; i < order.size(); ++i)
    std::memcpy(sorted.row(static_cast<std::int64_t>(i)), rows.row(order[i] / per_row), bytes);
}

template <class T>
void scatter_rows(const Tensor<T>& rows, std::span<const Slot> order, Tensor<T>& result) {
  const std::size_t bytes = static_cast<std::size_t>(rows.width()) * sizeof(T);
  for (std::size_t i = 0; i < order.size(); ++i)
    std::memcpy(result.row(order[i]), rows.row(static_cast<std::int64_t>(i)), bytes);
}

template <class T>
void weighted_sum(const Tensor<T>& rows, std::span<const Slot> inverse, const float* weights,
                  std::int64_t top_k, bool float32_weight_sum, Tensor<T>& y) {
  std::vector<const T*> present;
  std::vector<float> w, sums;
  for (std::int64_t t = 0; t < y.rows(); ++t) {
    present.clear();
    w.clear();
    for (std::int64_t j = 0; j < top_k; ++j) {
      const Slot row = inverse[static_cast<std::size_t>(t * top_k + j)];
      if (row < 0) continue;
      present.push_back(rows.row(row));
      w.push_back(weights == nullptr ? 1.0F : weights[t * top_k + j]);
    }
    if (float32_weight_sum) {
      sum_widened(std::span<const T* const>(present), w.data(), y.width(), sums, y.row(t));
    } else {
      sum_in_model_dtype<T>(present, w.data(), y.width(), y.row(t));
    }
  }
}

template void fan_out_rows(const Tensor<float>&, std::span<const Slot>, std::int64_t,
                           Tensor<float>&);
template void fan_out_rows(const Tensor<Bf16>&, std::span<const Slot>, std::int64_t, Tensor<Bf16>&);
template void gather_rows(const Tensor<float>&, std::span<const Slot>, std::int64_t,
                          Tensor<float>&);
template void gather_rows(const Tensor<Bf16>&, std::span<const Slot>, std::int64_t, Tensor<Bf16>&);
template void scatter_rows(const Tensor<float>&, std::span<const Slot>, Tensor<float>&);
template void scatter_rows(const Tensor<Bf16>&, std::span<const Slot>, Tensor<Bf16>&);
template void weighted_sum(const Tensor<float>&, std::span<const Slot>, const float*, std::int64_t,
                           bool, Tensor<float>&);
template void weighted_sum(const Tensor<Bf16>&, std::span<const Slot>, const float*, std::int64_t,
                           bool, Tensor<Bf16>&);

}  // namespace meshsim
