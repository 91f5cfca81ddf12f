#include "moe/gate_product.hpp"

#include <algorithm>
#include <vector>

#include "moe/bfloat16_rows.hpp"
#include "moe/clones.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t lanes = 16, block_rows = 8, stretch = 256;

using Floats = float __attribute__((vector_size(4 * lanes)));
using FloatsInMemory = float __attribute__((vector_size(4 * lanes), aligned(4), may_alias));

void to_floats(const float* values, std::int64_t count, float* wide) {
  std::copy_n(values, count, wide);
}
void to_floats(const Bf16* values, std::int64_t count, float* wide) { widen(values, count, wide); }

// 8 rows of x [8, d] times one panel of W [d, 16] -> z [8, 16].
MESHSIM_CLONES void multiply_panel(const float* x, const FloatsInMemory* panel, std::int64_t d,
                                   FloatsInMemory* z) {
  Floats total[block_rows] = {};
  for (std::int64_t first = 0; first < d; first += stretch) {
    const std::int64_t end = std::min(d, first + stretch);
    Floats sum[block_rows] = {};
    for (std::int64_t i = first; i < end; ++i) {
      const Floats w = panel[i];
      for (std::int64_t r = 0; r < block_rows; ++r) sum[r] += x[r * d + i] * w;
    }
    for (std::int64_t r = 0; r < block_rows; ++r) total[r] += sum[r];
  }
  for (std::int64_t r = 0; r < block_rows; ++r) z[r] = total[r];
}

// Columns [16 p, 16 p + 16) of W as panel p, [panels, d, 16], padded with zeros.
template <class T>
Tensor<float> panels_of(const Tensor<T>& w) {
  const std::int64_t d = w.shape()[0], experts = w.width(), panels = ceil_div(experts, lanes);
  Tensor<float> packed({panels, d, lanes}, 0.0F);
  for (std::int64_t p = 0; p < panels; ++p)
    for (std::int64_t i = 0; i < d; ++i)
      to_floats(w.row(i) + p * lanes, std::min(lanes, experts - p * lanes),
                packed.matrix(p) + i * lanes);
  return packed;
}

}  // namespace

template <class T>
Tensor<float> gate_product(const Tensor<T>& x, const Tensor<T>& w) {
  const std::int64_t tokens = x.rows(), d = x.width(), experts = w.width();
  Tensor<float> z({tokens, experts});
  if (z.empty()) return z;
  const Tensor<float> panels = panels_of(w);
  std::vector<float> rows(static_cast<std::size_t>(block_rows * d));  // of one block
  float product[block_rows * lanes];
  for (std::int64_t first = 0; first < tokens; first += block_rows) {
    const std::int64_t count = std::min(block_rows, tokens - first);
    to_floats(x.row(first), count * d, rows.data());
    for (std::int64_t p = 0; p * lanes < experts; ++p) {
      multiply_panel(rows.data(), reinterpret_cast<const FloatsInMemory*>(panels.matrix(p)), d,
                     reinterpret_cast<FloatsInMemory*>(product));
      for (std::int64_t t = 0; t < count; ++t)
        std::copy_n(product + t * lanes, std::min(lanes, experts - p * lanes),
                    z.row(first + t) + p * lanes);
    }
  }
  return z;
}

template Tensor<float> gate_product(const Tensor<float>&, const Tensor<float>&);
template Tensor<float> gate_product(const Tensor<Bf16>&, const Tensor<Bf16>&);

}  // namespace meshsim
