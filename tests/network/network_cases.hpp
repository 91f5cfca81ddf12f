// Requests and tori that the tests of collectives share.
#pragma once

#include <random>

#include "sim/network/collective.hpp"

namespace meshsim::testing {

// 90e9 B/s a link and direction, 1 us a hop: the scaling book's v5p.
inline const NetworkSpeed v5p_links{BytesPerSecond(90e9), Picoseconds(1'000'000),
                                    BytesPerSecond(6.25e9), Picoseconds(0)};
inline const Bytes mib64 = 64 * mib;

// Whole axes of a torus whose axes all wrap, or do not.
inline CollectiveRequest whole_axes(CollectiveOp op, const Torus& torus,
                                    const std::vector<std::size_t>& axes, Bytes bytes) {
  CollectiveRequest request;
  request.op = op;
  request.bytes = bytes;
  for (const std::size_t axis : axes) {
    if (torus.shape()[axis] > 1)
      request.parts.push_back({axis, torus.shape()[axis], 1, torus.wraps(axis)});
  }
  return request;
}

inline Torus wrapped(const std::vector<std::int64_t>& shape) {
  return Torus(shape, std::vector<bool>(shape.size(), true));
}

inline Picoseconds time_of(const CollectiveRequest& request, const Torus& torus,
                           const NetworkSpeed& speed = v5p_links) {
  return total_time(phases(request, speed, torus));
}

// A torus of 2 to 96 chips with any mixture of rings and lines.
inline Torus random_torus(std::mt19937_64& random) {
  for (;;) {
    std::vector<std::int64_t> shape;
    std::vector<bool> wraps;
    std::int64_t chips = 1;
    const std::size_t rank = 1 + random() % 3;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      shape.push_back(1 + static_cast<std::int64_t>(random() % 8));
      wraps.push_back(random() % 3 > 0);
      chips *= shape.back();
    }
    if (chips >= 2 && chips <= 96) return Torus(shape, wraps);
  }
}

}  // namespace meshsim::testing
