// A program as activities with predecessors: what the event engine runs.
//
// The TensorCore runs its operations in program order; a Parallel starts its children together and
// ends, with a join that takes no time, when all have ended; inside it, leaves of one branch may
// wait for leaves of another (Leaf::after); a Repeat is unrolled.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "program/step_program.hpp"

namespace meshsim {

using ActivityId = std::int32_t;

struct ActivityGraph {
  static constexpr std::int32_t join = -1;

  struct Activity {
    std::int32_t leaf = join;       // index into `leaves`
    std::int32_t predecessors = 0;  // how many
  };

  // Of the tree, each once, however often it runs; one whose routing differs from run to run, once
  // for each exchange that it belongs to.
  std::vector<const Leaf*> leaves;
  std::vector<std::int32_t> exchanges;  // of each: index into StepProgram::loads, or -1
  std::vector<Activity> activities;
  // Those of activity i: successors[first_successor[i]] up to first_successor[i + 1].
  std::vector<std::int32_t> first_successor;
  std::vector<ActivityId> successors;

  std::span<const ActivityId> after(ActivityId id) const {
    const auto at = static_cast<std::size_t>(id);
    const auto begin = static_cast<std::size_t>(first_successor[at]);
    return {successors.data() + begin, static_cast<std::size_t>(first_successor[at + 1]) - begin};
  }
};

// `exchange_offset`: how much further the exchanges of all leaves are than they say. Throws
// Error(resource_limit) beyond `cap` activities.
ActivityGraph activity_graph(const ProgramNode& root, std::int64_t cap,
                             std::int32_t exchange_offset = 0);

}  // namespace meshsim
