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
  std::vector<std::size_t> numbers;     // of each: how many leaves of the tree come before it
  std::size_t tree_leaves = 0;          // of the tree
  std::int32_t offset = 0;              // of the exchanges: how much further than leaves say
  // The exchange of leaf i if all are `other` further than leaves say.
  std::int32_t exchange(std::size_t i, std::int32_t other) const {
    return exchanges[i] < 0 ? -1 : exchanges[i] - offset + other;
  }
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

// Makes graphs, one after the other, in the same space.
class Unrolling {
 public:
  // Of `root`, into `graph`. `exchange_offset`: how much further the exchanges of all leaves are
  // than they say. Throws Error(resource_limit) beyond `cap` activities.
  void run(const ProgramNode& root, std::int64_t cap, std::int32_t exchange_offset,
           ActivityGraph& graph);

 private:
  using Ends = std::vector<ActivityId>;
  struct Edge {
    ActivityId from, to;
  };

  void add(std::int32_t leaf, Ends& ends);
  const Leaf& leaf_of(ActivityId id) const;
  void link(std::size_t first_marked, std::size_t first_waiting);
  std::int32_t entry(const Leaf& leaf, std::int32_t at);
  void unroll(const ProgramNode& node, Ends& ends, std::int32_t& leaf);
  void sort_edges();

  std::int64_t cap_ = 0;
  std::int32_t offset_ = 0;  // of the exchanges in the repeat that is unrolled
  ActivityGraph* graph_ = nullptr;
  std::vector<std::int32_t> entries_;  // of the tree's leaves: the last one of each
  std::vector<Edge> edges_;  // those of an activity's successors in the order of their making
  std::vector<ActivityId> marked_, waiting_;  // of the Parallels that are not complete yet
  std::vector<std::int32_t> next_;
};

ActivityGraph activity_graph(const ProgramNode& root, std::int64_t cap,
                             std::int32_t exchange_offset = 0);

}  // namespace meshsim
