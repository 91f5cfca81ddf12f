#include "topologies/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t lanes = 128;
constexpr std::int64_t sublanes = 8;
constexpr std::int64_t largest_vector_tile = 1024;
constexpr Bytes scalar_bytes{512};

std::int64_t rows_per_sublane(DType type) { return 4 / element_bytes(type); }

std::int64_t padded_second_minor(std::int64_t rows, DType type) {
  for (std::int64_t tile = rows_per_sublane(type); tile <= sublanes; tile *= 2) {
    if (rows <= tile) return tile;
  }
  return round_up(rows, sublanes, "padded second-minor dimension");
}

std::int64_t padded_minor(std::int64_t columns) {
  return round_up(columns, lanes, "padded minor dimension");
}

std::int64_t padded_vector(std::int64_t length, DType type) {
  std::int64_t tile = lanes * rows_per_sublane(type);
  while (tile < length && tile < largest_vector_tile) tile *= 2;
  return round_up(length, tile, "padded vector");
}

}  // namespace

Bytes padded_bytes(std::span<const std::int64_t> shape, DType type) {
  if (std::any_of(shape.begin(), shape.end(), [](std::int64_t dim) { return dim < 0; })) {
    throw Error(
        ErrorKind::invalid_input,
        fmt::format("a tensor has no negative dimension (got [{}])", fmt::join(shape, ", ")));
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return Bytes(0);
  if (shape.empty()) return scalar_bytes;
  if (shape.size() == 1) {
    return Bytes(checked_multiply(padded_vector(shape[0], type), element_bytes(type),
                                  "bytes of a padded vector"));
  }
  const std::int64_t elements = checked_product(shape, "elements of a tensor");
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (std::size_t second_minor = 0; second_minor < shape.size(); ++second_minor) {
    for (std::size_t minor = 0; minor < shape.size(); ++minor) {
      if (minor == second_minor) continue;
      least = std::min(least, checked_product({elements / shape[second_minor] / shape[minor],
                                               padded_second_minor(shape[second_minor], type),
                                               padded_minor(shape[minor]), element_bytes(type)},
                                              "bytes of a padded tensor"));
    }
  }
  return Bytes(least);
}

}  // namespace meshsim
