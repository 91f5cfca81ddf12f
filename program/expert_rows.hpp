// How many rows each strategy moves and multiplies: the one place that knows.
//
//   T tokens of one device   k choices of each   n = T k slots   P expert-parallel devices
//   E experts, E / P here    f = ragged_buffer_factor (> 0: buffers of int(n f) rows)
//
// Routing is balanced: every device receives as many rows as it sends.
#pragma once

#include <cstdint>
#include <string>

#include "program/layer_builder.hpp"

namespace meshsim {

// Of one exchange: a layer, a token chunk or a microbatch.
struct ExpertRows {
  std::int64_t slots;   // of the device's own tokens: what it sends
  std::int64_t routed;  // that the local experts multiply
  std::int64_t buffer;  // of the buffers that hold them, padding included
  std::int64_t moved;   // that a permutation of such a buffer touches
};

// A buffer of such rows as a permutation touches it: whole, or where a ragged sort stops.
void moved_activation(LayerBuilder& build, Name symbol, const ExpertRows& rows,
                      std::int64_t columns);

// Every expert is here: n rows, and nothing is padded.
ExpertRows local_rows(const MoeMlp& moe, std::int64_t tokens);

// The receive buffer takes whatever routing sends, or n f rows.
//   A token puts at most min(k, E/P) of its slots on one device: n min(P, E/k) rows in all.
ExpertRows ragged_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens);

// The slots of all P devices are sorted, those of the local experts multiplied: P n rows, or n f.
// With a capacity factor c > 0, int(n c) places hold the local experts' rows and are multiplied
// whole, as Levanter's ring does; MaxText's has no capacity.
ExpertRows ring_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens);

// Of a microbatch of the batch-split schedule: P n rows, and none is dropped.
ExpertRows gathered_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens);

bool has_capacity(const Plan& plan);

// dense_matmul with capacity_factor c > 0: each sequence of S tokens has C places for each expert.
//   C = int(max(ceil(S k / E) c, c))
std::int64_t capacity(const LayerBuilder& build, const MoeMlp& moe);

}  // namespace meshsim
