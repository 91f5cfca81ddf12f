// Context parallelism: how the devices that share a sequence meet in the core of attention.
//
//   C = U R   devices that share the S tokens of a sequence: S / C lie on each, everywhere
//   U         of them exchange tokens for heads: S / R queries of H / U heads on each
//   R         of them need the keys of the others
//
//   context_parallel_strategy   U                     R         keys
//   all_gather                  1                     C         gathered before the core
//   ring                        1                     C         passed on beside it, R - 1 times
//   ulysses                     C                     1         exchanged for heads
//   usp                         context_usp_ulysses   context   exchanged, then passed on
//
// The R parts of a sequence are its R runs of S / R tokens; with load balance (all_gather) the
// sequence is cut into 2 R runs, and rank r has the runs r and 2R - 1 - r. Under a causal mask a
// late part sees more keys than an early one. All wait for the slowest rank in every layer, so that
// the program is that rank's. In a ring each rank meets every part of the keys for as long as it
// takes to multiply it whole: the full rectangle of S / R x S, on every rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "program/visited_blocks.hpp"

namespace meshsim {

struct Plan;

struct ContextSplit {
  std::vector<std::string> by_heads;  // the axes of U
  std::vector<std::string> by_keys;   // the axes of R
  std::int64_t heads = 1;             // U
  std::int64_t keys = 1;              // R
  bool ring = false;
  bool balanced = false;  // each rank has an early and a late run

  std::int64_t devices() const { return heads * keys; }  // C
};

ContextSplit context_split(const Plan& plan);

// Blocks of the grid over one head of one sequence that the slowest rank visits: over its tokens,
// and over compressed entries where ratio > 0.
std::int64_t most_visited_blocks(const ContextSplit& split, const Visibility& visibility,
                                 std::int64_t ratio, std::int64_t S, BlockShape block);

// What of `plan`'s split is assumed, for the report; empty without one.
std::vector<std::string> assumptions(const ContextSplit& split);

}  // namespace meshsim
