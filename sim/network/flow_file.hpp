// Flow files: what to send from where to where over a torus (schema "flow-crosscheck/1").
//
//   {"schema": "flow-crosscheck/1", "name": ..., "torus": [4,4,8], "node_id": "x + X*(y + Y*z)",
//    "link_bytes_per_s": 9e10, "latency_s": 0,
//    "flows": [{"src": 0, "dst": 66, "bytes": 2453788, "start_s": 0,
//               "links": [[0,1],[1,2], ...]}, ...]}
//
// Every axis of more than one node is a ring. node_id says how nodes are numbered, from the
// coordinates x, y, z and the sizes X, Y, Z: the first axis fastest as above, or the last one,
// "z + Z*(y + Y*x)". A flow with `links` takes that route; any other the dimension-ordered one.
// A flow begins to move hops x latency after its start; its optional "collective" names whose bytes
// they are, in accounts. Answers (finish_s, makespan_s) may stand in
// the file and are not read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "inputs/source.hpp"
#include "sim/network/flow_simulation.hpp"
#include "topologies/torus.hpp"

namespace meshsim {

struct FileFlow {
  std::int64_t src = 0;  // as the file numbers nodes
  std::int64_t dst = 0;
  Bytes bytes;
  Picoseconds start;
  std::int32_t collective = 0;  // in the file's list
  std::vector<LinkId> links;    // empty: none in the file (src == dst, or the default route)
  bool has_route = false;
};

struct FlowFile {
  std::string name;
  Torus torus;
  bool first_axis_fastest = true;
  BytesPerSecond link_bandwidth;
  Picoseconds hop_latency;
  std::vector<FileFlow> flows;
  std::vector<std::string> collectives;  // by first use; "" for flows that name none

  ChipId chip(std::int64_t node) const;
  std::int64_t node(ChipId chip) const;
};

// Throws Error(invalid_input) with the place of every fault: a shape or a node that is not on the
// torus, a bandwidth that is not above 0, a count that is negative or huge, a route that is not
// connected.
FlowFile parse_flow_file(const Source& source);

}  // namespace meshsim
