// What work costs on the TensorCore.
//
//   F_p   FLOPs as executed on whole tiles      F    FLOPs of the mathematics
//   mxu     F_p / sustained rate of its kind of product and number format
//   softmax scores x vector operations per score / vector rate
//   grid    grid steps x time of one step
//   gather  gathered bytes / rate of row gathers
//   scatter scatter-added bytes / rate of row scatter-adds
//   core    = mxu + softmax + grid + gather + scatter, and
//             (cores - 1) x that for kernels that run on one core only (plans/software.hpp)
//   hbm     = bytes / HBM rate
//
//   duration = max(core, hbm)
//
// A grouped product whose depth exceeds its tile fetches a group's weights again for every tile of
// rows, and its rows again for every tile of columns (the grid runs over columns, rows, depth). A
// weight gradient fetches either operand again for every tile of the other's width.
#include <algorithm>
#include <numeric>

#include "cost_models/price.hpp"
#include "cost_models/tile_quantisation.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

FlopsPerSecond matmul_rate(const Compute& work, const Machine& machine) {
  const double grouped = work.kind == OpKind::grouped_matmul ? machine.grouped_share : 1;
  return machine.matmul * (grouped * machine.speedup(work.format));
}

bool on_one_core(const Compute& work, const Software& software) {
  return (work.kind == OpKind::grouped_matmul && software.grouped_matmul_on_one_core) ||
         (work.kind == OpKind::attention && software.attention_on_one_core);
}

// Rows that the product works on, tiles that groups share counted once for each.
std::int64_t executed_rows(const Compute& work, const Matmul& product) {
  if (product.m == 0) return 0;
  const std::int64_t tile = std::min(work.tile.m, product.m);
  return tiled_rows(product.m, work.groups, tile);
}

// What a grouped product reads of HBM beyond each operand once.
double refetched_bytes(const Compute& work, const Matmul& product) {
  const std::int64_t rows = executed_rows(work, product);
  const std::int64_t row_tile = std::min(work.tile.m, product.m);
  if (row_tile == 0) return 0;
  const auto column_tiles = static_cast<double>(ceil_div(product.n, work.tile.n));
  const auto depth = static_cast<double>(product.k);
  const double element = static_cast<double>(product.count * work.element_bytes);
  const double operand = (column_tiles - 1) * static_cast<double>(rows) * depth;
  if (work.contracts_rows) {
    const auto depth_tiles = static_cast<double>(ceil_div(product.k, work.tile.k));
    return element * (operand + (depth_tiles - 1) * static_cast<double>(rows) *
                                    static_cast<double>(product.n));
  }
  const bool deep = product.k > work.tile.k;
  const double tiles = static_cast<double>(rows) / static_cast<double>(row_tile);
  const double weight_fetches =
      deep ? std::max(0.0, tiles - static_cast<double>(work.groups)) : 0.0;
  const double weights = weight_fetches * depth * static_cast<double>(product.n);
  return element * (weights + operand);
}

}  // namespace

std::string_view name(CoreCause cause) {
  constexpr std::array<std::string_view, core_cause_count> names{
      "compute",    "mxu_inefficiency", "tile_waste", "softmax",   "grid_steps",
      "row_gather", "scatter_add",      "key_sort",   "idle_cores"};
  return names.at(cause);
}

double padded_flops(const Matmul& product, std::int64_t mxu_size) {
  constexpr std::int64_t sublanes = 8;
  const auto m = static_cast<double>(round_up(product.m, sublanes, "padded rows"));
  const auto k = static_cast<double>(round_up(product.k, mxu_size, "padded depth"));
  const auto n = static_cast<double>(round_up(product.n, mxu_size, "padded columns"));
  return 2 * static_cast<double>(product.count) * m * k * n;
}

std::int64_t tiled_rows(std::int64_t rows, std::int64_t groups, std::int64_t tile) {
  if (rows == 0) return 0;
  return (ceil_div(rows, tile) + std::min(groups, rows) - 1) * tile;
}

Price price(const Compute& work, const Machine& machine) {
  double flops = 0;
  auto bytes = static_cast<double>(work.hbm_bytes.value());
  for (const Matmul& product : work.matmuls) {
    Matmul executed = product;
    if (work.kind == OpKind::grouped_matmul) {
      executed.m = executed_rows(work, product);
      bytes += refetched_bytes(work, product);
    }
    flops += padded_flops(executed, machine.mxu_size);
  }
  const double rate = matmul_rate(work, machine).value();
  const double peak = std::max(rate, machine.matmul_peak.value() * machine.speedup(work.format));
  const double useful = std::min(flops, static_cast<double>(work.model_flops.value()));
  CoreTimes core{};
  core[ideal] = useful / peak * 1e12;
  core[inefficiency] = useful * (1 / rate - 1 / peak) * 1e12;
  core[tile_waste] = flops / rate * 1e12 - core[ideal] - core[inefficiency];
  core[softmax] =
      static_cast<double>(work.scores) * machine.softmax_ops / machine.vector_rate * 1e12;
  core[grid_steps] =
      static_cast<double>(work.grid_steps) * static_cast<double>(machine.grid_step.value());
  core[row_gather] = static_cast<double>(work.gathered.value()) / machine.row_gather.value() * 1e12;
  core[scatter_add] =
      static_cast<double>(work.scatter_added.value()) / machine.scatter_add.value() * 1e12;
  core[key_sort] = static_cast<double>(work.sort_steps) * machine.sort_step * 1e12;
  if (on_one_core(work, machine.software))
    core[idle_cores] =
        static_cast<double>(machine.cores - 1) * std::accumulate(core.begin(), core.end(), 0.0);
  ResourceTimes times{};
  times[tensor_core] = std::accumulate(core.begin(), core.end(), 0.0);
  times[hbm] = bytes / machine.hbm.value() * 1e12;
  Price result = priced(times, Picoseconds{});
  result.core = core;
  return result;
}

}  // namespace meshsim
