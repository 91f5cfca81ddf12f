// What a step's collectives send. Exchanges of slots send what the routing of each layer says, to
// the byte.
#pragma once

#include <string>
#include <vector>

#include "program/step_program.hpp"

namespace meshsim {

struct CollectiveTraffic {
  std::string name;       // "gather_weights"
  std::string mesh_axis;  // "fsdp+expert"
  CollectiveKind kind = CollectiveKind::all_gather;
  std::int64_t count = 0;
  Bytes payload;        // summed, see Collective::payload
  Bytes sent;           // by one device, summed; in the mean, rounded up, where devices differ
  Bytes sent_by_group;  // by all devices that take part together, summed
  // By each of them, summed; empty where all send as much.
  std::vector<Bytes> sent_by_rank;
};

// One entry per name, mesh axes and kind, in the order of first use.
std::vector<CollectiveTraffic> traffic(const StepProgram& program);

}  // namespace meshsim
