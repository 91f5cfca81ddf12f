// Rows of tokens on their way to the experts and back:
//
//   fan_out   x[T, d] -> rows[n, d]      every token's row once for each of its k choices
//   sort      rows[n, d] -> rows[m, d]   into the order of the experts
//   unsort    rows[m, d] -> rows[n, d]   back into the order of the tokens
//   fan_in    rows[n, d] -> out[T, d]    the weighted sum over the k choices
//
// Every move goes through an index, a row at a time: `gathered` counts the rows that it reads and
// writes, which is slower than streaming them. A sort without MaxText's custom gradient
// (use_custom_sort_vjp) has XLA's: rows are added to zeros through an unsorted index.
//
// Where a row goes is found by sorting the slots' experts, and sorting the places again for the way
// back: on a TPU a network of comparators, m L (L + 1) / 2 steps for m keys, L = ceil(log2 m).
//
// The kernels of use_ragged_sort move the rows of the local experts only, between the tokens and
// the order of the experts at once: nothing of [n, d] is between.
//
// Source: MaxText layers/moe.py, kernels/sort_activations.py and kernels/ragged/ragged_sort.py,
// 2026-08.
#pragma once

#include <string>

#include "program/expert_rows.hpp"
#include "program/layer_builder.hpp"

namespace meshsim {

// Rows in the order of the tokens, in a buffer of their own; or none, between `use_ragged_sort`'s.
struct TokenOrder {
  std::int64_t rows;  // 0: none
  std::int64_t columns;
};

std::int64_t sort_steps(std::int64_t keys);

// The order of `keys` keys that `from` tells, and its inverse: the symbol `order`.
void sort_keys(LayerBuilder& build, Name from, std::int64_t keys, Name order);

// "fan_out" and "sort": `tokens` to `sorted`, in `order`. `chunk` ends the names of operations
// and of what is between.
void to_experts(LayerBuilder& build, Name tokens, Name order, Name sorted, TokenOrder between,
                const std::string& chunk = "");

// "unsort" and "fan_in": `sorted`, in `order`, to `sums` with the weights of `routing`; of
// rows that were weighted before, without any ("").
void from_experts(LayerBuilder& build, Name sorted, Name order, Name routing, Name sums,
                  TokenOrder between, const std::string& chunk = "");

// Of a ring of experts, whose rows are those of all its tokens.
TokenOrder ring_token_order(const LayerBuilder& build, const ExpertRows& rows,
                            std::int64_t columns);

// All of the larger of `from` and `to` by `index`: so many passes over it, forward and backward.
void take_rows(LayerBuilder& build, Name name, Name from, Name index, Name to, std::int64_t passes,
               std::int64_t passes_back);

// One sort, by `index`.
void sort_rows(LayerBuilder& build, Name name, Name from, Name index, Name to);

}  // namespace meshsim
