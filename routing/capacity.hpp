// Who finds a place when every expert takes a fixed number of slots per sequence.
//
//   S tokens per sequence, c the capacity factor, C = int(max(ceil(S k / E) c, c))
//
// The ceiling is taken before multiplying. Slots are served in the order (token, j) of their
// sequence; the C first of each expert are kept, the rest dropped.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "routing/slot_order.hpp"

namespace meshsim {

std::int64_t expert_capacity(std::int64_t sequence, std::int64_t top_k, std::int64_t experts,
                             double factor);

// The place of each slot among its sequence's slots of the same expert, from 0; [B S k].
std::vector<std::int64_t> capacity_ranks(std::span<const ExpertId> ids, std::int64_t experts,
                                         std::int64_t slots_per_sequence);

}  // namespace meshsim
