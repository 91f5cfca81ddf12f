// One run of the network, whatever was asked for: its time, and what every link carried.
//
// Way::loads    the time follows from the bytes of the busiest link (collective.hpp,
//               byte_matrix.hpp)
// Way::flows    every flow was simulated, and has a finish time (flow_simulation.hpp)
#pragma once

#include <string>
#include <vector>

#include "sim/network/byte_matrix.hpp"
#include "sim/network/collective.hpp"
#include "sim/network/flow_file.hpp"

namespace meshsim {

struct LinkAccount {
  ChipId from = 0, to = 0;
  std::size_t axis = 0;
  Direction direction = Direction::positive;
  double bytes = 0;
  Picoseconds busy;  // with flows: at least one was moving; from loads: bytes / w
  std::vector<double> bytes_by_collective;  // with flows that name their collectives
};

struct FlowAccount {
  std::int64_t src = 0, dst = 0;
  double bytes = 0;
  Picoseconds start, finish;
};

struct NetworkRun {
  enum class Way { loads, flows };

  Way way = Way::loads;
  Picoseconds time;
  Picoseconds closed_form;
  std::vector<Phase> phases;  // of a uniform collective
  std::vector<LinkAccount> links;
  std::size_t bottleneck = 0;                // in links: the first with the most bytes
  std::vector<FlowAccount> over_bottleneck;  // largest first; unless the collective is uniform
  std::vector<FlowAccount> flows;            // Way::flows
  std::vector<std::string> collectives;      // of a flow file that names them
  Picoseconds window;                        // Way::flows: of the account over time
  std::vector<double> bottleneck_bytes_by_window;
  std::int64_t events = 0;
};

NetworkRun run_uniform(const CollectiveRequest& request, const NetworkSpeed& speed,
                       const Torus& torus);

// An all-to-all by `matrix` in groups over whole axes (request.parts). Every group sends the same
// matrix; accounts are of the group at the origin. Throws Error(invalid_input) for parts that are
// not whole axes, and for several slices; Error(resource_limit) for millions of flows.
struct MatrixRun {
  NetworkRun::Way way = NetworkRun::Way::loads;
  FlowOptions flow_options;
};
NetworkRun run_matrix(const ByteMatrix& matrix, const CollectiveRequest& request,
                      const NetworkSpeed& speed, const Torus& torus, const MatrixRun& how);

// A uniform all-to-all, flow by flow: for checking run_uniform, which is exact at no such cost.
// Accounts are of the group at the origin. Throws as run_matrix does.
NetworkRun run_all_to_all_by_flows(const CollectiveRequest& request, const NetworkSpeed& speed,
                                   const Torus& torus, const FlowOptions& options);

// A flow whose ways tie under HalfwayTies::split is sent in parts, and ends with the last of them.
// The closed form is the bound that no sharing can beat: max over links of the earliest arrival
// + bytes / w, and over flows of start + hops x latency + bytes / w.
NetworkRun run_flow_file(const FlowFile& file, HalfwayTies ties = HalfwayTies::one_way,
                         const FlowOptions& options = {});

}  // namespace meshsim
