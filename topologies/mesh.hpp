// How a logical mesh is laid on the physical one: the rule of JAX's mesh_utils.
//
// Logical axes stand in the order of increasing network intensity. They are placed from the last to
// the first.
//
// Whole axes: an axis of size s > 1 takes the first combination of three, then two, then one of the
// physical axes not yet taken (in index order) whose sizes multiply to s. None: refused.
//
// Split axes: an axis may take a part of each physical axis; the parts multiply to s and each
// divides what is left of its axis. Of all ways the one is taken that has, in this order,
//   1. the larger product of parts that are whole physical axes
//   2. more whole axes (of more than one device)
//   3. the larger product of parts on axes where a more intense logical axis already sits
//   4. the lexicographically larger tuple of parts
// (3 is what the code does; the comment beside it says the opposite.)
//
// assignment[p][l] is the part of physical axis p that logical axis l takes; the parts of a row
// multiply to the size of p, those of a column to the size of l. Within p a more intense logical
// axis is the inner one; within l a later physical axis is the inner one.
//
// Source: jax mesh_utils, August 2026.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace meshsim {

struct MeshAssignment {
  std::vector<std::int64_t> physical;
  std::vector<std::int64_t> logical;
  bool allow_split_physical_axes = false;
  std::vector<std::vector<std::int64_t>> assignment;  // [physical][logical]
  // The device at each place of the logical mesh, row-major. Devices count row-major on the
  // physical mesh, the last axis fastest.
  std::vector<std::int64_t> device_order;
};

inline constexpr std::size_t max_physical_axes = 4;
inline constexpr std::size_t max_logical_axes = 16;  // MaxText has 13

// Throws Error(invalid_input): a size below 1, a product of logical sizes that is not that of the
// physical ones, or a logical axis that does not fit what is left; the hint says what would fit.
MeshAssignment assign_mesh(std::span<const std::int64_t> physical,
                           std::span<const std::int64_t> logical, bool allow_split_physical_axes);

// Several slices, joined by DCN: logical axis i has dcn[i] x ici.logical[i] places, the DCN part
// outside. Slices fill the DCN mesh row-major, and device = slice x devices per slice + device of
// the slice. Throws Error(invalid_input) unless there is one positive degree for each logical axis.
std::vector<std::int64_t> hybrid_device_order(const MeshAssignment& ici,
                                              std::span<const std::int64_t> dcn);

}  // namespace meshsim
