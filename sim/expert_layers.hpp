// The layers with experts of one step: how unevenly their tokens are routed, and what that costs.
#pragma once

#include <cstdint>
#include <vector>

#include "program/step_program.hpp"
#include "sim/timeline.hpp"

namespace meshsim {

// One layer, over all its exchanges: those of the microbatches and of the shares of the tokens.
struct ExpertLayer {
  std::size_t layer = 0;     // decoder layer; prediction blocks come after them
  bool hashed = false;       // routes by token id
  std::int64_t slots = 0;    // of the expert-parallel group
  std::int64_t dropped = 0;  // of them: found no place
  // Sums over the exchanges: what the rank with most rows multiplies, and the mean over the ranks.
  std::int64_t most_rows = 0;
  double mean_rows = 0;
  std::int64_t straggler = 0;  // the rank with most rows, in the first exchange
  double skew = 1;             // most wanted / mean wanted, the largest of the exchanges
  Picoseconds imbalance;       // of the step: what balanced routing would spare
};

// Empty if routing is balanced.
std::vector<ExpertLayer> expert_layers(const StepProgram& program, const Timeline& timeline);

}  // namespace meshsim
