// Tiles that a grouped matrix product visits.
//
// Groups lie one after another and are not padded: a tile of t rows that crosses a boundary is
// visited once for each group in it. A group [start, end) visits ceil(end / t) - floor(start / t)
// tiles, an empty one none; the work is tiles x t rows. (Grid of Pallas megablox, version 1.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace meshsim {

// [groups]
std::vector<std::int64_t> tiles_per_group(std::span<const std::int64_t> group_sizes,
                                          std::int64_t tile_rows);

}  // namespace meshsim
