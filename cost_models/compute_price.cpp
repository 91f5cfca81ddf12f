#include <algorithm>

#include "cost_models/price.hpp"
#include "cost_models/tile_quantisation.hpp"
#include "units/checked.hpp"

namespace meshsim {

double padded_flops(const Matmul& product, std::int64_t mxu_size) {
  constexpr std::int64_t sublanes = 8;
  const auto m = static_cast<double>(round_up(product.m, sublanes, "padded rows"));
  const auto k = static_cast<double>(round_up(product.k, mxu_size, "padded depth"));
  const auto n = static_cast<double>(round_up(product.n, mxu_size, "padded columns"));
  return 2 * static_cast<double>(product.count) * m * k * n;
}

std::int64_t tiled_rows(std::int64_t rows, std::int64_t groups, std::int64_t tile) {
  std::int64_t tiles = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t begin = rows * g / groups;
    const std::int64_t end = rows * (g + 1) / groups;
    if (end > begin) tiles += ceil_div(end, tile) - begin / tile;
  }
  return tiles * tile;
}

// The roofline: the MXU's padded FLOPs against the bytes that HBM moves.
Price price(const Compute& work, const Machine& machine) {
  double flops = 0;
  for (const Matmul& product : work.matmuls) {
    Matmul executed = product;
    if (work.kind == OpKind::grouped_matmul) {
      executed.m = tiled_rows(product.m, work.groups, std::min(work.group_tile, product.m));
    }
    flops += padded_flops(executed, machine.mxu_size);
  }
  ResourceTimes times{};
  times[tensor_core] = flops / machine.matmul.value() * 1e12;
  times[hbm] = static_cast<double>(work.hbm_bytes.value()) / machine.hbm.value() * 1e12;
  return priced(times, Picoseconds{});
}

}  // namespace meshsim
