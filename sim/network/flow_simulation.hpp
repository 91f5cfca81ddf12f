// Flows over links, as fluids: when each one has moved its bytes.
//
//   C_l      capacity of directed link l [B/s]; each direction of a cable is a link of its own
//   flow f   b_f bytes over the links of its route, which begin to move at s_f
//
// From s_f on the flow runs at the max-min fair rate (max_min_system.hpp, all weights 1) among the
// flows that move at the time, on all links of its route at once; it ends when b_f bytes have
// moved. A flow without links or bytes ends at s_f. Latency is the caller's: a flow begins to move
// hops x latency after its start.
//
// Between two events all rates are constant. A group of flows with a common bottleneck runs at one
// rate, so a group has one clock, the bytes that each member has moved, and the member that ends
// next is the top of one heap: an event costs the links of its component, not the flows.
//
// Events are the starts, in integer picoseconds and in the order (time, sequence), and the ends.
// The clock of the fluid is a double (2^-53 relative), so that nothing accumulates; finish times
// are rounded up to a picosecond. Ends that differ by less than the rounding of the clock are one
// event.
//
// Tolerance t > 0: when a flow ends, those flows of its component whose ends at the present rates
// lie within t / 2 of the time since the network became busy end as well, each at that time, and
// the rates are shared anew once for all of them. Capacity that a flow frees is so left idle for at
// most that long; the makespan of a skewed all-to-all stays within t of the exact one
// (bench_network).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/network/flow_set.hpp"
#include "units/quantity.hpp"

namespace meshsim {

struct LinkUse {
  double bytes = 0;
  Picoseconds busy;  // how long at least one flow was moving over it
  std::int64_t flows = 0;
};

struct FlowSimulation {
  std::vector<Picoseconds> finish;  // of each flow
  Picoseconds makespan;             // the last finish
  std::vector<LinkUse> links;
  std::vector<std::vector<double>> bytes_by_collective;  // [collective][link]
  // With a window: the bytes that each link moved in the k-th stretch of that length, [k][link].
  std::vector<std::vector<double>> bytes_by_window;
  std::int64_t events = 0;  // starts, ends and ends of windows, those at one time counted once
};

struct FlowOptions {
  double tolerance = 0;
  std::int64_t event_cap = 50'000'000;
  Picoseconds window{};  // 0: no account over time
};

// Throws Error: invalid_input for a capacity that is not above 0 or a tolerance outside [0, 1);
// resource_limit beyond the cap on events; internal, naming flows, if nothing can end any more.
FlowSimulation simulate_flows(std::span<const BytesPerSecond> capacity, const FlowSet& flows,
                              const FlowOptions& options = {});

}  // namespace meshsim
