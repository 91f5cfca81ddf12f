// A topology as JSON and as a table for a terminal.
//
// JSON (schema https://meshsim.dev/schema/topology/1): what the slice is, the constants of its chip
// with their sources (names end in their unit), and, where a logical mesh is given, which part of
// which physical axis each logical axis owns and how many directed ICI links of one slice its rings
// cross.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "topologies/mesh.hpp"
#include "topologies/slice.hpp"

namespace meshsim {

struct TopologyView {
  Topology topology;
  std::optional<MeshAssignment> mesh;  // of one slice, on device_mesh_shape(topology.slice)
  // With a mesh: the DCN degree of each logical axis, whose product is the number of slices. May be
  // empty for one slice.
  std::vector<std::int64_t> dcn_degrees;
};

// Throw Error(invalid_input) if the mesh does not lie on the slice, or the DCN degrees do not
// multiply to the number of slices.
nlohmann::ordered_json topology_json(const TopologyView& view);
std::string topology_table(const TopologyView& view);

// "v5p-512: 256 chips (512 TensorCores), 4x8x8 torus, 64 hosts"
std::string topology_headline(const Topology& topology);

}  // namespace meshsim
