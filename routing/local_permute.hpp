// Rows of one expert shard, sorted by local expert.
//
//   e_l = E / P local experts; counts[i, e] = rows of source i for expert e (global), [P, E]
#pragma once

#include <cstdint>
#include <vector>

#include "routing/count_matrix.hpp"
#include "routing/slot_order.hpp"

namespace meshsim {

struct LocalPermute {
  std::vector<Slot> order;                // [R] the input row of each sorted row (stable)
  std::vector<ExpertId> labels;           // [R] local expert of each sorted row
  std::vector<std::int64_t> group_sizes;  // [e_l] rows that belong to a group
};

// After a dispatch: the buffer of `buffer_rows` rows holds blocks by source, each by local expert,
// clamped to the buffer by prefix. Rows beyond those received carry the last local expert's label
// and, the sort being stable, end up last: outside of every group.
LocalPermute local_permute_received(const CountMatrix& counts, std::int64_t shard,
                                    std::int64_t local_experts, std::int64_t buffer_rows);

// Unsharded batch: all rows are here, sorted by global expert, given by their `experts`. Rows of
// other shards are labelled e_l and go to the back.
LocalPermute local_permute_offset(std::span<const ExpertId> experts, std::int64_t shard,
                                  std::int64_t local_experts);

}  // namespace meshsim
