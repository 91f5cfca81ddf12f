// Simulating flows between chips of a torus, and accounting for them.
#pragma once

#include "sim/network/network_run.hpp"

namespace meshsim {

struct RoutedFlow {
  FlowAccount account;  // all but the finish
  std::int32_t collective = 0;
  std::vector<Path> paths;  // weights sum to 1
};

// Everything of a run but `collectives`. Links and flows are numbered as the torus numbers them.
NetworkRun run_flows(const Torus& torus, const std::vector<RoutedFlow>& flows,
                     const NetworkSpeed& speed, FlowOptions options);

// `count` windows over the time that the links need at least.
inline constexpr std::int64_t windows_of_a_run = 16;

// The accounts of all links of `torus`, without bytes.
std::vector<LinkAccount> link_accounts(const Torus& torus);
// Sets `bottleneck`.
void find_bottleneck(NetworkRun& run);
// The largest flows first, at most `most_named`.
inline constexpr std::size_t most_named = 10;
void keep_largest(std::vector<FlowAccount>& flows);

}  // namespace meshsim
