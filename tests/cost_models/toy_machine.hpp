// Machines with round numbers, for tests.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "cost_models/machine.hpp"

namespace meshsim::testing {

inline constexpr double infinite = std::numeric_limits<double>::infinity();

// 1 FLOP, 1 byte of HBM and 1 byte of one link per picosecond; 1000 ps per hop. One mesh axis,
// "fsdp", on `parts`.
inline Machine toy_machine(std::vector<PhysicalPart> parts = {{0, 4, 1, true}}) {
  Machine machine;
  machine.matmul = machine.matmul_peak = FlopsPerSecond(1e12);
  machine.mxu_size = 128;
  machine.hbm = BytesPerSecond(1e12);
  machine.ici_link = BytesPerSecond(1e12);
  machine.pcie = BytesPerSecond(1e10);
  machine.dcn = BytesPerSecond(1e9);
  machine.hop_latency = Picoseconds(1000);
  machine.physical_axes = 3;
  machine.mesh_axes.push_back({"fsdp", std::move(parts)});
  machine.software.overlap = Overlap::ideal;
  return machine;
}

// The same with HBM that costs nothing.
inline Machine links_only(std::vector<PhysicalPart> parts) {
  Machine machine = toy_machine(std::move(parts));
  machine.hbm = BytesPerSecond(infinite);
  return machine;
}

inline PhysicalPart ring(std::size_t axis, std::int64_t n, std::int64_t stride = 1) {
  return {axis, n, stride, true};
}
inline PhysicalPart line(std::size_t axis, std::int64_t n, std::int64_t stride = 1) {
  return {axis, n, stride, false};
}

}  // namespace meshsim::testing
