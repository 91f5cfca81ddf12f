#include <algorithm>
#include <array>

#include "sim/network/axis_profile.hpp"
#include "sim/network/byte_matrix.hpp"

namespace meshsim {
namespace {

// sums[(line x n + from) x n + to]: the bytes that go from place `from` to place `to` of each line
// of one axis.
struct LineSums {
  std::int64_t n = 1;
  std::vector<std::int64_t> sums;
};

// A torus of any rank as one of four axes, the missing ones of size 1 in front.
std::array<std::int64_t, 4> four_axes(const Torus& torus) {
  std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  const auto given = torus.shape();
  std::copy(given.begin(), given.end(), shape.end() - static_cast<std::ptrdiff_t>(given.size()));
  return shape;
}

// Dimension order: on axis a a message stands at its destination's coordinates of the axes before
// a, and at its source's of those after. For one source the sums over destinations nest:
// innermost axis first.
std::array<LineSums, 4> line_sums(const ByteMatrix& matrix, const std::array<std::int64_t, 4>& n) {
  std::array<LineSums, 4> all;
  for (std::size_t axis = 0; axis < 4; ++axis)
    all[axis] = {n[axis],
                 std::vector<std::int64_t>(static_cast<std::size_t>(matrix.size * n[axis]))};
  const std::int64_t* message = matrix.bytes.data();
  const std::int64_t inner = n[1] * n[2] * n[3];
  for (std::int64_t from = 0; from < matrix.size; ++from) {
    const std::int64_t s0 = from / inner, s1 = from / (n[2] * n[3]) % n[1];
    const std::int64_t s2 = from / n[3] % n[2], s3 = from % n[3];
    for (std::int64_t d0 = 0; d0 < n[0]; ++d0) {
      std::int64_t sum0 = 0;
      for (std::int64_t d1 = 0; d1 < n[1]; ++d1) {
        std::int64_t sum1 = 0;
        for (std::int64_t d2 = 0; d2 < n[2]; ++d2) {
          std::int64_t sum2 = 0;
          const std::int64_t line = (d0 * n[1] + d1) * n[2] + d2;
          std::int64_t* to = all[3].sums.data() + (line * n[3] + s3) * n[3];
          for (std::int64_t d3 = 0; d3 < n[3]; ++d3) {
            to[d3] += message[d3];
            sum2 += message[d3];
          }
          message += n[3];
          const std::int64_t line2 = (d0 * n[1] + d1) * n[3] + s3;
          all[2].sums[static_cast<std::size_t>((line2 * n[2] + s2) * n[2] + d2)] += sum2;
          sum1 += sum2;
        }
        const std::int64_t line1 = (d0 * n[2] + s2) * n[3] + s3;
        all[1].sums[static_cast<std::size_t>((line1 * n[1] + s1) * n[1] + d1)] += sum1;
        sum0 += sum1;
      }
      const std::int64_t line0 = (s1 * n[2] + s2) * n[3] + s3;
      all[0].sums[static_cast<std::size_t>((line0 * n[0] + s0) * n[0] + d0)] += sum0;
    }
  }
  return all;
}

// The links of one line: +amount where a way begins, -amount where it ends, then running sums; a
// way around the end of a ring counts on from its beginning.
class Line {
 public:
  explicit Line(std::int64_t n)
      : n_(n), positive_(static_cast<std::size_t>(2 * n + 1)), negative_(positive_) {}

  void add(std::int64_t from, const AxisWay& way, double amount) {
    if (way.positive_hops > 0) {
      positive_[index(from)] += amount * way.positive_share;
      positive_[index(from + way.positive_hops)] -= amount * way.positive_share;
    }
    if (way.negative_hops > 0) {  // counted from the other end
      const std::int64_t mirrored = n_ - 1 - from;
      negative_[index(mirrored)] += amount * way.negative_share;
      negative_[index(mirrored + way.negative_hops)] -= amount * way.negative_share;
    }
  }

  AxisProfile take() {
    AxisProfile profile{std::vector<double>(index(n_)), std::vector<double>(index(n_))};
    double right = 0, left = 0;
    for (std::int64_t i = 0; i < 2 * n_; ++i) {
      right += positive_[index(i)];
      left += negative_[index(i)];
      profile.positive[index(i % n_)] += right;
      profile.negative[index(n_ - 1 - i % n_)] += left;
    }
    std::fill(positive_.begin(), positive_.end(), 0.0);
    std::fill(negative_.begin(), negative_.end(), 0.0);
    return profile;
  }

 private:
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
  std::int64_t n_;
  std::vector<double> positive_, negative_;
};

}  // namespace

MatrixLoads matrix_loads(const ByteMatrix& matrix, const Torus& torus, HalfwayTies ties,
                         bool both_directions) {
  const std::array<std::int64_t, 4> n = four_axes(torus);
  const std::array<LineSums, 4> sums = line_sums(matrix, n);
  MatrixLoads loads;
  loads.bytes.assign(static_cast<std::size_t>(torus.links()), 0);
  const std::size_t missing = 4 - torus.shape().size();
  for (std::size_t axis = missing; axis < 4; ++axis) {
    if (n[axis] == 1) continue;
    const std::size_t own = axis - missing;
    const PhysicalPart part{own, n[axis], 1, torus.wraps(own)};
    std::vector<AxisWay> ways;
    for (std::int64_t from = 0; from < n[axis]; ++from) {
      for (std::int64_t to = 0; to < n[axis]; ++to)
        ways.push_back(axis_way(part, both_directions, ties, from, to));
    }
    std::int64_t stride = 1;
    for (std::size_t later = axis + 1; later < 4; ++later) stride *= n[later];
    Line line(n[axis]);
    for (std::int64_t number = 0; number < matrix.size / n[axis]; ++number) {
      const std::int64_t* bytes = sums[axis].sums.data() + number * n[axis] * n[axis];
      for (std::int64_t pair = 0; pair < n[axis] * n[axis]; ++pair) {
        if (bytes[pair] > 0)
          line.add(pair / n[axis], ways[static_cast<std::size_t>(pair)],
                   static_cast<double>(bytes[pair]));
      }
      const AxisProfile profile = line.take();
      const ChipId first = number / stride * stride * n[axis] + number % stride;
      for (std::int64_t i = 0; i < n[axis]; ++i) {
        const ChipId chip = first + i * stride;
        const auto put = [&](Direction direction, double amount) {
          if (const std::optional<LinkId> link = torus.find_link(chip, own, direction))
            loads.bytes[static_cast<std::size_t>(*link)] = amount;
        };
        put(Direction::positive, profile.positive[static_cast<std::size_t>(i)]);
        put(Direction::negative, profile.negative[static_cast<std::size_t>(i)]);
      }
    }
  }
  loads.busiest = std::max_element(loads.bytes.begin(), loads.bytes.end()) - loads.bytes.begin();
  return loads;
}

Picoseconds makespan_from_loads(const ByteMatrix& matrix, const MatrixLoads& loads,
                                const Torus& torus, const NetworkSpeed& speed, HalfwayTies ties,
                                bool both_directions) {
  if (loads.bytes.empty()) return {};
  const double most = loads.bytes[static_cast<std::size_t>(loads.busiest)];
  if (most == 0) return {};
  Picoseconds longest = speed.hop_latency + picoseconds_from_seconds(most / speed.link.value());
  // No message can exceed that if the largest one would not over the longest way.
  const std::int64_t largest = *std::max_element(matrix.bytes.begin(), matrix.bytes.end());
  std::int64_t diameter = 0;
  for (const std::int64_t size : torus.shape()) diameter += size - 1;
  if (speed.hop_latency * diameter + Bytes(largest) / speed.link <= longest) return longest;
  for (std::int64_t from = 0; from < matrix.size; ++from) {
    for (std::int64_t to = 0; to < matrix.size; ++to) {
      const std::int64_t bytes = matrix.at(from, to);
      if (bytes == 0 || from == to) continue;
      std::int64_t hops = 0;
      double share = 1;
      for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) {
        const PhysicalPart part{axis, torus.shape()[axis], 1, torus.wraps(axis)};
        const AxisWay way = axis_way(part, both_directions, ties, torus.coordinate(from, axis),
                                     torus.coordinate(to, axis));
        hops += std::max(way.positive_hops, way.negative_hops);
        if (way.positive_hops > 0 && way.negative_hops > 0) share /= 2;
      }
      longest = std::max(
          longest, speed.hop_latency * hops + picoseconds_from_seconds(static_cast<double>(bytes) *
                                                                       share / speed.link.value()));
    }
  }
  return longest;
}

}  // namespace meshsim
