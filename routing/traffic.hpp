// Bytes between logical pairs: who sent how much to whom, in which collective.
//
// Copies to oneself cross no wire and are not counted. Rows are sorted by (collective, src, dst),
// each pair appears once, and rows of zero bytes are left out, so that equal traffic compares
// equal.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "routing/count_matrix.hpp"
#include "routing/strategy.hpp"

namespace meshsim {

struct TrafficRow {
  std::string collective;
  std::int64_t src, dst, bytes;

  bool operator==(const TrafficRow&) const = default;
};

class Traffic {
 public:
  void add(std::string_view collective, std::int64_t src, std::int64_t dst, std::int64_t bytes);
  void add(const Traffic& other);
  std::vector<TrafficRow> rows() const;
  std::int64_t bytes() const;

  bool operator==(const Traffic&) const = default;

 private:
  std::map<std::tuple<std::string, std::int64_t, std::int64_t>, std::int64_t> bytes_;
};

// One MoE layer on a grid of P expert ranks x X tensor ranks; rank (p, x) has number p X + x.
struct LayerExchange {
  Strategy strategy = Strategy::ragged_all_to_all;
  std::int64_t expert_ranks = 1;        // P
  std::int64_t tensor_ranks = 1;        // X
  std::int64_t tokens = 0;              // T, per rank
  std::int64_t embedding = 0;           // d
  std::int64_t experts = 0, top_k = 0;  // E, k
  std::int64_t element_bytes = 4;       // D
  std::int64_t gate_bytes = 4;          // Dg
  std::int64_t weight_bytes = 4;        // Dw, of a combine weight in batch_split
  std::int64_t gate_tables = 1;         // 2 where pre-bias scores travel as well (V3, V4)
  std::int64_t chunks = 1;              // N of the chunked strategies
  bool logits_per_chunk = false;        // embedding chunks repeat the gather of logits
  double buffer_factor = -1;            // > 0: truncated buffers
  bool distinct_experts = true;         // false: a token may name an expert twice
};

// Rows of the buffer that feeds the local experts: R, or P n of a ring. n is T k (T k / 2 per
// microbatch of batch_split, T k / N per token chunk).
std::int64_t expert_buffer_rows(const LayerExchange& layer);

// The forward pass, predicted from the slots that each source has for each expert, [P, E]. All but
// ragged_all_to_all do not depend on them. Per device, sent:
//   all_gather_shard_counts   4 P (P-1)            dispatch   sum_{j!=p} M[p,j] d D
//   all_gather_expert_counts  4 E (P-1)            combine    sum_{i!=p} M[i,p] (d/X) D
//   all_gather_x   (P-1) T d D                     reduce_scatter   (P-1) T (d/X) D
//   all_gather_gate_logits, all_gather_pre_bias    (P-1) T E Dg each
//   all_gather_ids, all_gather_weights (batch_split)   (P-1) T k 4, (P-1) T k Dw
//   all_reduce_counts (batch_split, twice)   two passes of 4 (P-1) ceil(E/P)
//   tensor_reduce_scatter  (X-1)/X R d D           tensor_all_gather  T (d/X) D
// The reference writes 4 (P-1) for the first; that is one counter per rank, but all of M is needed,
// and each rank contributes its row of P counters.
Traffic predicted_traffic(const LayerExchange& layer, const CountMatrix& slots);

// The backward pass of a dropless layer without tensor ranks:
//   combine_back    sum_{j!=p} M[p,j] d D         dispatch_back       sum_{i!=p} M[i,p] d D
//   all_gather_dy, reduce_scatter_dx              (P-1) T d D each, of the gathering strategies
//   reduce_scatter_d_pre (rings)                  (P-1) T E Dg: of the scores that are the weights
//   all_gather_x_again (batch_split)              (P-1) T d D: rows are gathered again, not kept
//   reduce_scatter_d_weights (batch_split)        (P-1) T k Dw
Traffic predicted_backward_traffic(const LayerExchange& layer, const CountMatrix& slots);

}  // namespace meshsim
