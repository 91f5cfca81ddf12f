// The critical path of a step: a chain of operations from its start to its end, each of which
// started when the one before it ended.
//
//   sum of their times = the time of the step, to the picosecond
//
// An operation that becomes shorter shortens the step only if it is on the path, and then until
// another path takes over. This is another view than the causes of sim/timeline.hpp: beside a
// transfer that outlasts the work that hides it, the causes name the work and the exposed rest, the
// path names the transfer.
//
// The path is made of the leaves outside Parallels and of the path through each Parallel, which is
// waited for at its end (sim/step_walk.hpp). Of operations that end together the first in program
// order is taken: the TensorCore's own.
#pragma once

#include <string>
#include <vector>

#include "cost_models/machine.hpp"
#include "program/step_program.hpp"

namespace meshsim {

// Equal operations of the path, together.
struct PathOperation {
  std::string name, layer_kind;
  Pass pass = Pass::forward;
  std::string bound;  // what sets its duration alone: a resource ("ici" for all axes), "latency"
  std::int64_t count = 0;
  Picoseconds time;    // on the path, summed
  Picoseconds slowed;  // of it: beyond its duration alone, for what ran beside it
};

// Longest first, then by name. Operations that take no time are left out.
std::vector<PathOperation> critical_path(const StepProgram& program, const Machine& machine);

}  // namespace meshsim
