#include "program/context_parallel.hpp"

#include <algorithm>

#include "plans/plan.hpp"
#include "program/local_shapes.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::int64_t visited(const Visibility& visibility, std::int64_t ratio, QueryRange queries,
                     BlockShape block) {
  return visited_blocks(visibility, queries, block) +
         (ratio == 0 ? 0 : visited_compressed_blocks(ratio, queries, block));
}

}  // namespace

ContextSplit context_split(const Plan& plan) {
  const std::vector<std::string> length = activation_axes(plan).length;
  const std::string strategy = plan.config.text("context_parallel_strategy");
  ContextSplit split;
  for (const std::string& axis : length) {
    const bool heads =
        strategy == "ulysses" || (strategy == "usp" && axis == "context_usp_ulysses");
    (heads ? split.by_heads : split.by_keys).push_back(axis);
  }
  split.heads = shards(plan.mesh, split.by_heads);
  split.keys = shards(plan.mesh, split.by_keys);
  split.ring = split.keys > 1 && (strategy == "ring" || strategy == "usp");
  split.balanced = split.keys > 1 && strategy == "all_gather" &&
                   plan.config.boolean("context_parallel_load_balance");
  return split;
}

std::int64_t most_visited_blocks(const ContextSplit& split, const Visibility& visibility,
                                 std::int64_t ratio, std::int64_t S, BlockShape block) {
  const std::int64_t R = split.keys;
  const std::int64_t part = S / R;
  if (split.ring) return R * ceil_div(part, block.queries) * ceil_div(part, block.keys);
  if (!split.balanced) {
    std::int64_t most = 0;
    for (std::int64_t rank = 0; rank < R; ++rank)
      most = std::max(most, visited(visibility, ratio, {rank * part, (rank + 1) * part}, block));
    return most;
  }
  const std::int64_t half = part / 2;
  const auto run = [&](std::int64_t i) {
    return visited(visibility, ratio, {i * half, (i + 1) * half}, block);
  };
  std::int64_t most = 0;
  for (std::int64_t rank = 0; rank < R; ++rank)
    most = std::max(most, run(rank) + run(2 * R - 1 - rank));
  return most;
}

std::vector<std::string> assumptions(const ContextSplit& split) {
  std::vector<std::string> texts;
  if (split.ring) {
    texts.emplace_back(
        "a ring of keys multiplies every part of the sequence with every other, masked or not, and "
        "passes a part on before it multiplies the next");
  } else if (split.keys > 1 && !split.balanced) {
    texts.emplace_back(
        "context parallelism without load balance: the last part of a sequence sees the most keys, "
        "and the others wait for it in every layer");
  }
  return texts;
}

}  // namespace meshsim
