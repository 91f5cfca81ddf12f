// Slots sorted by expert: the permutation that every sparse dispatch starts with.
//
//   T tokens, k experts per token, n = T k slots, slot s = t k + j (token t's j-th choice)
//   ids' = (ids - roll) mod E;  order = stable argsort of ids';  group_sizes = bincount(ids', E)
//
// Row i of the sorted rows is token order[i] div k. `roll` is the first expert of the own shard in
// a ring of experts, 0 otherwise, so that the own experts come first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace meshsim {

using ExpertId = std::int32_t;
using Slot = std::int32_t;

struct RouteMetadata {
  std::vector<Slot> order;                // [n] the slot that stands in each sorted row
  std::vector<std::int64_t> group_sizes;  // [E] rows per (rolled) expert
};

// A counting sort, O(n + E). Throws Error(invalid_input) if an id is not in [0, experts).
RouteMetadata sort_slots(std::span<const ExpertId> ids, std::int64_t experts,
                         std::int64_t roll = 0);

// Slots per expert, [E]; refuses as above.
std::vector<std::int64_t> slots_per_expert(std::span<const ExpertId> ids, std::int64_t experts);

// inverse[order[i]] = i: the sorted row of each slot.
std::vector<Slot> inverse_of(std::span<const Slot> order);

// The expert of each sorted row: e repeated group_sizes[e] times.
std::vector<ExpertId> labels_of(std::span<const std::int64_t> group_sizes);

}  // namespace meshsim
