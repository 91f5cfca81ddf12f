// The flows of a FlowSet, simulated by SimGrid through its public S4U interface.
//
// Model CM02 without corrections for TCP or cross-traffic, precision 1e-15: fluid flows that share
// directed links max-min fairly. Every flow has a pair of hosts of its own, so that it may take any
// route.
#pragma once

#include <span>
#include <vector>

#include "sim/network/flow_simulation.hpp"

namespace meshsim::testing {

// When each flow has moved its bytes, in seconds. SimGrid has one engine a process: call it once.
std::vector<double> simgrid_finish(std::span<const BytesPerSecond> capacity, const FlowSet& flows);

}  // namespace meshsim::testing
