// Why a step takes as long as it does, and what to try first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reports/document.hpp"
#include "sim/attribution.hpp"
#include "sim/critical_path.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// A change of the plan that was tried: it fits and is faster.
struct Improvement {
  std::string change;   // "wi_tile_fwd_batch_seq=128"
  std::string command;  // the whole command, to be pasted
  Picoseconds step_time;
  double tokens_per_s_per_device = 0;
  double gain = 0;  // of tokens per second and device: 0.1 is 10 % more
  Bytes peak;
  bool changes_training = false;  // another batch: the run learns something else
};

struct Improvements {
  std::vector<Improvement> best;  // most gain first, one for each kind of change
  // What became of all that were tried.
  std::int64_t tried = 0, faster = 0, not_faster = 0, too_large = 0, refused = 0, not_modelled = 0;
};

struct Explanation {
  std::vector<Attribution> causes;
  std::vector<PathOperation> path;
  Improvements improvements;
};

// Schema https://meshsim.dev/schema/explain/1. `evaluation` has a step.
Json explain_json(const Evaluation& evaluation, const Explanation& explanation);
std::string explain_table(const Evaluation& evaluation, const Explanation& explanation);

}  // namespace meshsim
