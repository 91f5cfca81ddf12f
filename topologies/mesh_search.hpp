// The two searches of assign_mesh (see mesh.hpp for the rule). Sizes are valid and their products
// equal.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace meshsim {

using Assignment = std::vector<std::vector<std::int64_t>>;  // [physical][logical]

// The placement of whole axes, or the first logical axis that found no place and the sizes of the
// physical axes (beyond 1) that were left for it.
struct WholeAxes {
  Assignment assignment;
  std::optional<std::size_t> refused;
  std::vector<std::int64_t> left;
};

WholeAxes place_whole_axes(std::span<const std::int64_t> physical,
                           std::span<const std::int64_t> logical);

// Always succeeds: whatever the more intense axes took, the prime factors that are left are those
// of the remaining sizes. At most one candidate per choice of a divisor of each physical axis.
Assignment place_split_axes(std::span<const std::int64_t> physical,
                            std::span<const std::int64_t> logical);

// The degrees that place_whole_axes accepts and that differ least from `logical` in
// sum |log2(degree / wanted)|; ties go to the lexicographically smaller. Empty if there
// are none: one logical axis cannot take four whole physical axes.
std::vector<std::int64_t> nearest_whole_degrees(std::span<const std::int64_t> physical,
                                                std::span<const std::int64_t> logical);

}  // namespace meshsim
