#include "routing/grouped_tiles.hpp"

#include "units/checked.hpp"

namespace meshsim {

std::vector<std::int64_t> tiles_per_group(std::span<const std::int64_t> group_sizes,
                                          std::int64_t tile_rows) {
  std::vector<std::int64_t> tiles;
  std::int64_t start = 0;
  for (const std::int64_t size : group_sizes) {
    const std::int64_t end = start + size;
    tiles.push_back(size == 0 ? 0 : ceil_div(end, tile_rows) - start / tile_rows);
    start = end;
  }
  return tiles;
}

}  // namespace meshsim
