#include "plans/kernel_blocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "plans/plan.hpp"

namespace meshsim {
namespace {

// Spelt out: every plan of a sweep is looked at.
struct TileKeys {
  std::string_view m, k, n;
};
constexpr std::array tile_keys{
    TileKeys{"wi_tile_fwd_batch_seq", "wi_tile_fwd_embed_dim", "wi_tile_fwd_mlp_dim"},
    TileKeys{"wi_tile_dlhs_batch_seq", "wi_tile_dlhs_embed_dim", "wi_tile_dlhs_mlp_dim"},
    TileKeys{"wi_tile_drhs_batch_seq", "wi_tile_drhs_embed_dim", "wi_tile_drhs_mlp_dim"},
    TileKeys{"wo_tile_fwd_batch_seq", "wo_tile_fwd_embed_dim", "wo_tile_fwd_mlp_dim"},
    TileKeys{"wo_tile_dlhs_batch_seq", "wo_tile_dlhs_embed_dim", "wo_tile_dlhs_mlp_dim"},
    TileKeys{"wo_tile_drhs_batch_seq", "wo_tile_drhs_embed_dim", "wo_tile_drhs_mlp_dim"}};

std::int64_t widest_expert(const ModelSpec& model) {
  std::int64_t width = 0;
  for (const LayerKind& kind : model.kinds) {
    if (const auto* moe = std::get_if<MoeMlp>(&kind.mlp)) width = std::max(width, moe->width);
  }
  return width;
}

std::optional<KernelBlocks> of_grouped_products(const Plan& plan, double vmem) {
  const std::int64_t width = widest_expert(plan.model);
  if (width == 0 || !plan.config.boolean("sparse_matmul")) return {};
  for (const TileKeys& keys : tile_keys) {
    const auto m = static_cast<double>(plan.config.integer(keys.m));
    const auto k = static_cast<double>(std::min(plan.config.integer(keys.k), plan.model.emb_dim));
    const auto n = static_cast<double>(std::min(plan.config.integer(keys.n), width));
    const double needed = 4 * (m * k + k * n + m * n);
    if (needed > vmem)
      return KernelBlocks{std::string(keys.m), fmt::format("{}, {} and {}", m, k, n), needed, vmem};
  }
  return {};
}

std::optional<KernelBlocks> of_attention(const Plan& plan, double vmem) {
  const std::string attention = plan.config.text("attention");
  if (attention == "dot_product") return {};
  for (const auto& [rows, columns] : {std::pair{"sa_block_q", "sa_block_kv_compute"},
                                      std::pair{"sa_block_q_dkv", "sa_block_kv_dkv_compute"}}) {
    const auto block = [&](const char* key) {
      return static_cast<double>(std::min(plan.config.integer(key), plan.training.sequence_length));
    };
    const double needed = 4 * block(rows) * block(columns);
    if (needed > vmem)
      return KernelBlocks{rows, fmt::format("{} and {}", block(rows), block(columns)), needed,
                          vmem};
  }
  return {};
}

}  // namespace

std::optional<KernelBlocks> blocks_beyond_vmem(const Plan& plan) {
  const Chip& chip = *plan.topology.slice.chip;
  const double vmem =
      static_cast<double>(chip.vmem.value.value()) / static_cast<double>(chip.tensor_cores.value);
  if (auto found = of_grouped_products(plan, vmem)) return found;
  return of_attention(plan, vmem);
}

}  // namespace meshsim
