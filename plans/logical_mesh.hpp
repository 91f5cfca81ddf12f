// The logical mesh: named axes, each with a degree inside a slice (ICI) and across slices (DCN).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plans/resolved_config.hpp"

namespace meshsim {

struct MeshAxis {
  std::string name;  // "fsdp"
  std::int64_t ici = 1;
  std::int64_t dcn = 1;

  std::int64_t size() const { return ici * dcn; }
};

struct LogicalMesh {
  std::vector<MeshAxis> axes;  // in MaxText's mesh_axes order, increasing network intensity

  std::int64_t size(std::string_view axis) const;  // 1 for an axis that the mesh does not have
  std::int64_t devices() const;
  std::vector<std::int64_t> ici_degrees() const;
};

// The key of an axis' degree on "ici" or "dcn". MaxText calls the mesh axis of pipeline parallelism
// "stage".
std::string degree_key(std::string_view network, std::string_view axis);

// The degrees of `config` for `slices` slices of `devices_per_slice` devices. One ICI and one DCN
// degree may be -1: what is left. Throws Error(invalid_input) that names the product and its
// factors when it does not fit, for a second -1, for a -1 that would not be an integer, and for the
// degrees that MaxText has keys but no mesh axis for.
LogicalMesh resolve_mesh(const ResolvedConfig& config, std::int64_t slices,
                         std::int64_t devices_per_slice);

}  // namespace meshsim
