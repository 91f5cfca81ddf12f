// What a logical mesh axis owns of the torus: parts of physical axes, and links.
//
// On physical axis p of n chips, logical axis l has `part` members, `stride` chips apart (stride =
// the product of the parts of p that more intense logical axes took):
//
//   part = n                       the whole axis
//   part < n, stride x part = n    every stride-th chip; closes to a ring where the axis wraps,
//   each
//                                  step crossing `stride` links that `stride` such sub-rings share
//   stride x part < n              a segment (stride 1) or a strided part of one: always a line,
//   since
//                                  the short way stays inside the segment
//
// The links of l are those that its rings and lines cross, over all of its groups, both directions.
#pragma once

#include <cstdint>
#include <vector>

#include "topologies/mesh.hpp"
#include "topologies/torus.hpp"

namespace meshsim {

struct PhysicalPart {
  std::size_t axis = 0;  // of the device mesh
  std::int64_t part = 1;
  std::int64_t stride = 1;
  bool wraparound = false;
};

struct AxisFootprint {
  std::size_t logical_axis = 0;
  std::int64_t size = 1;
  std::vector<PhysicalPart> physical;  // only parts > 1, in the order of physical axes
  std::vector<LinkId> links;           // ascending
};

// One for each logical axis. A physical axis beyond the rank of the torus (the devices of one chip)
// has no ICI links. Throws Error(invalid_input) if the mesh does not lie on this torus.
std::vector<AxisFootprint> footprints(const MeshAssignment& mesh, const Torus& torus);

}  // namespace meshsim
