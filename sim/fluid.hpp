// Activities that run at once, as a fluid: between events every running one advances at its fair
// speed (sim/max_min.hpp); an event is the end of an activity.
//
//   left_i' = -s_i      the next event after  min_i left_i / s_i,  rounded up to a picosecond
//
// Simulated time is integer picoseconds; ties are first in, first out. Knows prices, no programs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cost_models/price.hpp"
#include "sim/activity_graph.hpp"
#include "sim/max_min.hpp"

namespace meshsim {

// What the engine needs to know of a leaf.
struct FluidLeaf {
  double duration = 0;  // picoseconds alone
  bool on_core = false;
  std::array<double, resource_count> uses{};  // of each resource, in [0, 1]
};
FluidLeaf fluid_leaf(bool on_core, const Price& price);
FluidLeaf fluid_leaf(const Leaf& leaf, const Price& price);

// Why time passed: `alone`, the part that the leaf would have taken by itself, and the rest,
// `contended`, while it was the one on the TensorCore, or the first transfer while nothing was.
struct LeafTime {
  Picoseconds alone, contended;
};

struct FluidInterval {
  std::int32_t leaf = 0;
  std::int64_t start = 0, end = 0;
  ActivityId activity = 0;  // the run of the leaf
};

class FluidEngine {
 public:
  // Runs `graph`, whose leaf i costs leaves[i], from time 0. Returns the end; times() and
  // intervals(), if they are recorded, are those of this run. Throws Error(internal) when nothing
  // can run although work is left.
  std::int64_t run(const ActivityGraph& graph, std::span<const FluidLeaf> leaves,
                   bool record_intervals = false);

  std::span<const LeafTime> times() const { return times_; }  // per leaf; they sum to the end
  std::span<const FluidInterval> intervals() const { return intervals_; }  // in order of their ends

 private:
  struct Running {
    ActivityId id;
    std::int32_t leaf;
    double left;  // picoseconds of work at full speed
    std::int64_t start;
  };

  void start(ActivityId id);
  void finish(ActivityId id);
  void start_ready();
  void advance();
  void attribute(std::int64_t step);
  [[noreturn]] void fail_stuck() const;
  const FluidLeaf& cost(std::int32_t leaf) const { return leaves_[static_cast<std::size_t>(leaf)]; }

  const ActivityGraph* graph_ = nullptr;
  std::span<const FluidLeaf> leaves_;
  bool record_intervals_ = false;
  std::int64_t now_ = 0;
  std::size_t finished_ = 0;
  std::vector<std::int32_t> waiting_;  // predecessors that have not ended
  std::vector<ActivityId> ready_;      // a queue: from next_ready_ on
  std::size_t next_ready_ = 0;
  std::vector<Running> running_;
  std::vector<const double*> uses_;
  std::vector<double> speeds_;
  std::vector<ActivityId> ended_;
  MaxMin sharing_;
  std::vector<LeafTime> times_;
  std::vector<FluidInterval> intervals_;
};

}  // namespace meshsim
