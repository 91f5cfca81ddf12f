// What links carry while flows move: bytes, busy time, by collective and over time.
#pragma once

#include <vector>

#include "sim/network/flow_simulation.hpp"

namespace meshsim {

// Times are picoseconds. Every flow that has links and bytes begins and ends once.
class LinkLedger {
 public:
  LinkLedger(std::size_t links, const FlowSet& flows);

  void begin(FlowId flow, double now);
  void end(FlowId flow, double now);

  // Ends a window. left(flow) is what a flow that has begun and not ended has yet to move.
  template <class Left>
  void close_window(Left left) {
    std::vector<double> total = moved_;
    for (const FlowId flow : moving()) {
      for (const ResourceId link : flows_.links(flow))
        total[static_cast<std::size_t>(link)] += flows_.bytes(flow) - left(flow);
    }
    add_window(std::move(total));
  }
  // Some flow has moved bytes that no window holds yet.
  bool has_open_window() const { return told_ != moved_; }

  // Moves the accounts into `result`.
  void settle(FlowSimulation& result);

 private:
  std::vector<FlowId> moving() const;
  void add_window(std::vector<double> total);

  const FlowSet& flows_;
  std::vector<LinkUse> links_;
  std::vector<std::vector<double>> by_collective_, by_window_;
  std::vector<double> busy_since_;
  std::vector<std::int64_t> moving_over_;  // flows, of each link
  std::vector<bool> is_moving_;            // by flow
  std::vector<double> moved_;              // over each link, by flows that have ended
  std::vector<double> told_;               // over each link, in the windows closed so far
};

}  // namespace meshsim
