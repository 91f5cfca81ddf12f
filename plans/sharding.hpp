// Logical axes -> mesh axes -> the shard of a tensor that one device holds.
//
// Rules are (logical axis, mesh axes) pairs, in order of priority. Each rule in turn places the
// dimension of its name, unless that has its place already or one of the mesh axes is taken; a
// dimension that no rule places stays whole. Mesh axes of degree 1 are dropped afterwards.
//
// So an MLP kernel (embed, mlp) gives its `mlp` the tensor axes first (the rule of mlp stands
// before that of embed), and embed falls back to its second rule, which does without
// fsdp_transpose. Visiting dimensions from left to right instead would leave (embed, mlp) whole
// along mlp whatever the tensor degree. (flax logical_to_mesh_axes, as MaxText calls it, August
// 2026.)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
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

  // (logical axis, mesh axes), in order of priority.
  using List = std::vector<std::pair<std::string, std::vector<std::string>>>;
  const List& list() const { return rules_; }

 private:
  List rules_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_name_;  // of rules_, ascending
  LogicalMesh mesh_;
};

// The number of shards that `axes` split a dimension into.
std::int64_t shards(const LogicalMesh& mesh, std::span<const std::string> axes);

}  // namespace meshsim
