// The four vectors that each rank hands to a ragged all-to-all.
//
//   P ranks; M[i, j] = rows that batch shard i sends to expert shard j; C(.) exclusive prefix sums
//
// Rank p takes send[j] rows from input_offsets[j] of its buffer and puts them at output_offsets[j]
// of rank j's buffer; it receives recv[i] rows from rank i. All are [P], in rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "routing/count_matrix.hpp"

namespace meshsim {

struct AllToAllParameters {
  std::vector<std::int64_t> input_offsets;
  std::vector<std::int64_t> send_sizes;
  std::vector<std::int64_t> output_offsets;
  std::vector<std::int64_t> recv_sizes;
};

// Tokens to experts, batch sharded: input_offsets C over the row M[p, :], send M[p, :],
// output_offsets[j] = sum over i < p of M[i, j], recv M[:, p]. A receive buffer is hence ordered by
// source, each block by expert. `truncated` holds what is really sent (M itself unless rows are
// dropped); the sender still holds the dropped rows, so its input offsets follow M.
AllToAllParameters dispatch_parameters(const CountMatrix& m, const CountMatrix& truncated,
                                       std::int64_t p);

// Experts back to tokens: the same with M transposed. Here the receiver's buffer keeps the places
// of dropped rows, so the output offsets follow the untruncated M.
AllToAllParameters combine_parameters(const CountMatrix& m, const CountMatrix& truncated,
                                      std::int64_t p);

// Batch not sharded (global batch 1: every rank has all tokens): rank p computed the g[p] rows of
// its own experts and sends all of them to everyone.
AllToAllParameters combine_parameters_unsharded(std::span<const std::int64_t> g, std::int64_t p);

// What of M fits into receive buffers of `buffer_rows`: M~ = diff(min(cumsum(M, down columns), R)).
// Later sources lose first.
CountMatrix truncated_to(const CountMatrix& m, std::int64_t buffer_rows);

// Rows of the receive buffer. factor > 0: int(n factor), rows beyond it are dropped. Otherwise
// int(n min(P, E/k)), which never drops, since a token puts at most min(k, E/P) slots on a shard --
// provided that its experts are distinct: with repeated experts (random routing, a table of zeros)
// a shard can receive n P rows.
std::int64_t receive_buffer_rows(std::int64_t local_slots, std::int64_t ranks, std::int64_t experts,
                                 std::int64_t top_k, double factor);

}  // namespace meshsim
