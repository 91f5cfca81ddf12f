// A collective, or a file of flows, on the network: how long it takes and what every link carried.
//
// JSON (schema https://meshsim.dev/schema/collective/1): time and closed form, the bottleneck and
// the flows over it, phases of a uniform collective, one row a link and, where flows were
// simulated, one row a flow. Bytes of a link are rounded to whole ones (half of a flow may take
// either way around a ring).
//
//   algorithm bandwidth = bytes / time     bus bandwidth = algorithm bandwidth x the share of the
//   bytes that every chip has to send or receive (nccl-tests' convention)
#pragma once

#include <optional>
#include <string>

#include "reports/document.hpp"
#include "sim/network/network_run.hpp"

namespace meshsim {

struct CollectiveView {
  std::string topology;  // "v5p-512", "4x8x8" or the name of a flow file
  std::vector<std::int64_t> shape;
  std::vector<bool> wraparound;
  std::optional<CollectiveRequest> request;  // none: flows from a file
  bool by_matrix = false;                    // request.bytes is the sum of the matrix
  HalfwayTies ties = HalfwayTies::one_way;
  NetworkSpeed speed;
  double tolerance = 0;
  NetworkRun run;
  std::vector<std::string> assumptions, not_modelled;
};

Json collective_json(const CollectiveView& view);
std::string collective_table(const CollectiveView& view);

}  // namespace meshsim
