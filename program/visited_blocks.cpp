#include "program/visited_blocks.hpp"

#include <algorithm>

#include "units/checked.hpp"

namespace meshsim {
namespace {

std::int64_t first_visible(const Visibility& visibility, std::int64_t query) {
  switch (visibility.kind) {
    case Visibility::Kind::full: return 0;
    case Visibility::Kind::sliding: return std::max<std::int64_t>(0, query - visibility.window + 1);
    case Visibility::Kind::chunked: return query / visibility.window * visibility.window;
  }
  return 0;
}

}  // namespace

std::int64_t visited_blocks(const Visibility& visibility, QueryRange queries, BlockShape block) {
  std::int64_t visited = 0;
  for (std::int64_t a = queries.begin; a < queries.end; a += block.queries) {
    const std::int64_t b = std::min(queries.end, a + block.queries);
    visited += (b - 1) / block.keys - first_visible(visibility, a) / block.keys + 1;
  }
  return visited;
}

std::int64_t visited_compressed_blocks(std::int64_t ratio, QueryRange queries, BlockShape block) {
  std::int64_t visited = 0;
  for (std::int64_t a = queries.begin; a < queries.end; a += block.queries) {
    visited += ceil_div(std::min(queries.end, a + block.queries) / ratio, block.keys);
  }
  return visited;
}

}  // namespace meshsim
