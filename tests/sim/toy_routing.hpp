// Unbalanced routing between two ranks, and work that follows it, on the toy machine.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "program/expert_loads.hpp"
#include "tests/sim/toy_programs.hpp"

namespace meshsim::testing {

// Two ranks with one expert each; `mine` slots of either rank go to expert 0, `theirs` to expert 1.
inline CountMatrix two_ranks(std::int64_t mine, std::int64_t theirs) {
  CountMatrix slots(2, 2);
  slots.counts = {mine, theirs, mine, theirs};
  return slots;
}

inline std::shared_ptr<ExpertLoads> loads_of(const std::vector<CountMatrix>& layers) {
  auto loads = std::make_shared<ExpertLoads>();
  for (const CountMatrix& slots : layers) {
    loads->hashed.push_back(false);
    loads->layer.push_back(loads->layer.size());
    loads->exchanges.push_back({false, exchange_load(slots, -1, Cut::by_source)});
  }
  return loads;
}

// A product of 128 routed rows in tiles of 8 on the toy machine: 16 tile times.
inline ProgramNode routed_work(std::int32_t exchange) {
  Compute compute;
  compute.kind = OpKind::grouped_matmul;
  compute.matmuls = {{1, 128, 128, 128}};
  compute.tile = {8, 128, 128};
  compute.model_flops = FlopCount(16 * tile_time);
  Leaf leaf;
  leaf.name = "gmm";
  leaf.layer_kind = "moe";
  leaf.work = compute;
  leaf.routed = {exchange, 128, Bytes(0), true};
  return leaf_node(std::move(leaf));
}

}  // namespace meshsim::testing
