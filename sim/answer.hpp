// The numbers of an evaluation, without the words of its report.
//
//   peak = arguments + temp         memory sums to peak, time to step_time, both exactly
#pragma once

#include <utility>
#include <vector>

#include "sim/evaluation.hpp"
#include "units/name.hpp"

namespace meshsim {

struct Answer {
  Verdict verdict = Verdict::inconclusive;
  bool timed = false;  // false: the step cannot be lowered or priced, and memory is its floor
  Prefetch prefetch = Prefetch::layer;
  Picoseconds step_time;
  double mfu = 0;
  double tokens_per_s_per_device = 0;

  Bytes arguments, temp;  // per device
  Bytes on_host;
  Bytes hbm_usable;
  Bytes peak() const { return arguments + temp; }

  // Per device: categories of the state, then "temp:" categories at the peak.
  std::vector<std::pair<Name, Bytes>> memory;
  // Causes as in sim/timeline.hpp, over all layers and passes, sorted by name.
  std::vector<std::pair<Name, Picoseconds>> time;

  bool operator==(const Answer&) const = default;
};

// Of an evaluation that was made in full.
Answer answer_of(const Evaluation& evaluation);

}  // namespace meshsim
