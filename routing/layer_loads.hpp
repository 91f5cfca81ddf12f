// What the slots of one MoE layer mean for the devices of its expert-parallel group.
//
//   slots[i, e]  slots of source rank i for expert e, [P, E]; rank p holds E/P consecutive experts
//   M[i, p]      slots that rank i sends to rank p: per_shard(slots, P)
//   r_p          sum over i of M[i, p]: rows that the experts of rank p work on
//   skew         max_p r_p / mean
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "routing/count_matrix.hpp"

namespace meshsim {

// r_p, [P].
std::vector<std::int64_t> received_rows(const CountMatrix& exchange);

// Slots per expert over all sources, [E].
std::vector<std::int64_t> expert_slots(const CountMatrix& slots);

// max / mean; 1 where nothing was routed.
double skew(std::span<const std::int64_t> loads);

// Which rows of a full buffer are lost.
enum class Cut {
  by_source,  // ragged all-to-all: blocks lie source by source, so that later sources lose first
  by_expert,  // ring of experts: rows lie expert by expert, so that the last local experts lose
};

// Rows of each local expert of rank p that lie within a buffer of `buffer_rows`, [E/P]. A negative
// `buffer_rows` is a buffer without end.
std::vector<std::int64_t> local_group_sizes(const CountMatrix& slots, std::int64_t ranks,
                                            std::int64_t p, std::int64_t buffer_rows, Cut cut);

// Slots that find no place in buffers of `buffer_rows` per rank: sum over p of max(0, r_p - R).
std::int64_t truncation_drops(const CountMatrix& exchange, std::int64_t buffer_rows);

// Slots that find no place when every expert takes `capacity` of each sequence's:
// sum over sequences and experts of max(0, c - C). slots[b, e] are those of sequence b.
std::int64_t capacity_drops(const CountMatrix& slots, std::int64_t capacity);

}  // namespace meshsim
