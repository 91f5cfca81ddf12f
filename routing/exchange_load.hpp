// One exchange of a MoE layer as the devices of its expert-parallel group meet it.
//
//   M[i, p]   slots that rank i sends to rank p and that find a place there
//   r_p       sum over i of M[i, p]: rows that the experts of rank p multiply
//
// Ranks start and end an exchange together: whoever has more rows lets the others wait. The
// straggler is the rank with the most rows, of several the one whose experts visit most tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "routing/count_matrix.hpp"
#include "routing/layer_loads.hpp"

namespace meshsim {

struct ExchangeLoad {
  CountMatrix sent;                            // M, [P, P]
  std::vector<std::int64_t> rows;              // r_p, [P]
  std::vector<std::int64_t> experts;           // of each rank: those of its experts that have rows
  std::int64_t straggler = 0;                  // a rank
  std::vector<std::int64_t> straggler_groups;  // its rows per local expert, [E/P]
  std::int64_t slots = 0;                      // that all ranks route
  std::int64_t dropped = 0;                    // of them: found no place in a buffer
  double skew = 1;                             // max_p r_p / mean, before anything is dropped

  std::int64_t straggler_rows() const { return rows[static_cast<std::size_t>(straggler)]; }
  std::int64_t straggler_experts() const { return experts[static_cast<std::size_t>(straggler)]; }
};

// `slots` [P, E]. Receive buffers hold `buffer_rows`, or anything if that is negative.
ExchangeLoad exchange_load(const CountMatrix& slots, std::int64_t buffer_rows, Cut cut);

}  // namespace meshsim
