#include "moe/rank_gather.hpp"

#include <array>
#include <string_view>

namespace meshsim {
namespace {

// Both ledgers of one rank and place as integers: {sent or received, collective, src, dst, bytes}.
constexpr std::array<std::string_view, 20> collectives{"all_gather_shard_counts",
                                                       "all_gather_expert_counts",
                                                       "dispatch",
                                                       "combine",
                                                       "all_gather_x",
                                                       "all_gather_gate_logits",
                                                       "all_gather_pre_bias",
                                                       "reduce_scatter",
                                                       "all_gather_ids",
                                                       "all_gather_weights",
                                                       "all_reduce_counts",
                                                       "tensor_reduce_scatter",
                                                       "tensor_all_gather",
                                                       "combine_back",
                                                       "dispatch_back",
                                                       "all_gather_dy",
                                                       "reduce_scatter_dx",
                                                       "reduce_scatter_d_pre",
                                                       "all_gather_x_again",
                                                       "reduce_scatter_d_weights"};

void append(std::vector<std::int64_t>& flat, std::int64_t side, const Traffic& traffic) {
  for (const TrafficRow& row : traffic.rows()) {
    const auto found = std::find(collectives.begin(), collectives.end(), row.collective);
    flat.insert(flat.end(), {side, found - collectives.begin(), row.src, row.dst, row.bytes});
  }
}

}  // namespace

std::vector<std::vector<std::byte>> gathered_bytes(Communicator& world,
                                                   std::span<const std::byte> mine) {
  const auto ranks = static_cast<std::size_t>(world.size());
  const auto size = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> sizes(ranks);
  std::vector<Block> to(ranks, Block{0, 8}), from(ranks);
  for (std::size_t i = 0; i < ranks; ++i) from[i] = {static_cast<std::int64_t>(8 * i), 8};
  world.all_to_all(reinterpret_cast<const std::byte*>(&size), to,
                   reinterpret_cast<std::byte*>(sizes.data()), from);
  to.assign(ranks, Block{});
  to[0] = {0, size};
  from.assign(ranks, Block{});
  std::int64_t total = 0;
  if (world.rank() == 0)
    for (std::size_t i = 0; i < ranks; ++i) {
      from[i] = {total, sizes[i]};
      total += sizes[i];
    }
  std::vector<std::byte> all(static_cast<std::size_t>(total));
  world.all_to_all(mine.data(), to, all.data(), from);
  std::vector<std::vector<std::byte>> result;
  if (world.rank() != 0) return result;
  for (const Block& block : from)
    result.emplace_back(all.begin() + block.offset, all.begin() + block.offset + block.size);
  return result;
}

Ledger world_ledger(Communicator& world, const Ledger& mine) {
  std::vector<std::int64_t> flat;
  append(flat, 0, mine.sent);
  append(flat, 1, mine.received);
  Ledger all;
  for (const auto& rows : gathered_elements(world, std::span<const std::int64_t>(flat)))
    for (std::size_t i = 0; i < rows.size(); i += 5)
      (rows[i] == 0 ? all.sent : all.received)
          .add(collectives[static_cast<std::size_t>(rows[i + 1])], rows[i + 2], rows[i + 3],
               rows[i + 4]);
  return all;
}

}  // namespace meshsim
