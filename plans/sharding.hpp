// Logical axes -> mesh axes -> the shard of a tensor that one device holds.
//
// Rules are (logical axis, mesh axes) pairs in order. The dimensions of a tensor are visited left
// to right; each takes the first rule of its name none of whose mesh axes an earlier dimension has
// taken, and stays whole if there is none. Mesh axes of degree 1 are dropped afterwards. (flax
// logical axis rules as MaxText applies them, August 2026.)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plans/logical_mesh.hpp"

namespace meshsim {

class ShardingRules {
 public:
  ShardingRules() = default;
  // Throws Error(invalid_input) for a malformed rule or a mesh axis that is not in `mesh`.
  ShardingRules(const ResolvedConfig& config, const LogicalMesh& mesh);

  // Per dimension the mesh axes, of degree > 1, that split it.
  std::vector<std::vector<std::string>> resolve(std::span<const std::string> logical_axes) const;

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> rules_;
  LogicalMesh mesh_;
};

// The number of shards that `axes` split a dimension into.
std::int64_t shards(const LogicalMesh& mesh, std::span<const std::string> axes);

}  // namespace meshsim
