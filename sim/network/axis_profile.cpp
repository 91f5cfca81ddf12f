#include "sim/network/axis_profile.hpp"

namespace meshsim {
namespace {

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

AxisProfile nothing(const PhysicalPart& part) {
  return {std::vector<double>(at(part.part)), std::vector<double>(at(part.part))};
}

}  // namespace

AxisWay axis_way(const PhysicalPart& part, bool both_directions, HalfwayTies ties,
                 std::int64_t from, std::int64_t to) {
  if (from == to) return {};
  if (!part.wraparound) {
    return to > from ? AxisWay{to - from, 0, 1, 0} : AxisWay{0, from - to, 0, 1};
  }
  const std::int64_t forward = (to - from + part.part) % part.part;
  const std::int64_t backward = part.part - forward;
  if (!both_directions || forward < backward) return {forward, 0, 1, 0};
  if (backward < forward) return {0, backward, 0, 1};
  if (ties == HalfwayTies::split) return {forward, backward, 0.5, 0.5};
  return {forward, 0, 1, 0};
}

void add_way(AxisProfile& profile, const AxisWay& way, std::int64_t from, double amount) {
  const auto n = static_cast<std::int64_t>(profile.positive.size());
  for (std::int64_t hop = 0; hop < way.positive_hops; ++hop)
    profile.positive[at((from + hop) % n)] += amount * way.positive_share;
  for (std::int64_t hop = 0; hop < way.negative_hops; ++hop)
    profile.negative[at((from - hop + n) % n)] += amount * way.negative_share;
}

AxisProfile gather_profile(const PhysicalPart& part, bool both_directions, bool mirrored) {
  AxisProfile profile = nothing(part);
  const std::int64_t n = part.part;
  for (std::int64_t j = 0; j < n; ++j) {
    if (part.wraparound) {
      profile.positive[at(j)] = static_cast<double>(n - 1) / (both_directions ? 2 : 1);
      profile.negative[at(j)] = both_directions ? static_cast<double>(n - 1) / 2 : 0;
    } else {
      // The shards of members 0 to j pass on to the right; on the way back of those that a
      // reduce-scatter collects, the partial sums for members j + 1 to n - 1 do.
      if (j + 1 < n) profile.positive[at(j)] = static_cast<double>(mirrored ? n - 1 - j : j + 1);
      if (j > 0) profile.negative[at(j)] = static_cast<double>(mirrored ? j : n - j);
    }
  }
  return profile;
}

AxisProfile all_to_all_profile(const PhysicalPart& part, bool both_directions, HalfwayTies ties) {
  AxisProfile profile = nothing(part);
  const std::int64_t n = part.part;
  // A ring looks the same from every member: the way from member 0 stands for all.
  AxisProfile from_first = nothing(part);
  for (std::int64_t to = 1; to < n && part.wraparound; ++to)
    add_way(from_first, axis_way(part, both_directions, ties, 0, to), 0, 1);
  double positive = 0, negative = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    positive += from_first.positive[at(j)];
    negative += from_first.negative[at(j)];
  }
  for (std::int64_t j = 0; j < n; ++j) {
    if (part.wraparound) {
      profile.positive[at(j)] = positive;
      profile.negative[at(j)] = negative;
    } else {
      // Every pair on two sides of a cut crosses it, once each way.
      if (j + 1 < n) profile.positive[at(j)] = static_cast<double>((j + 1) * (n - 1 - j));
      if (j > 0) profile.negative[at(j)] = static_cast<double>(j * (n - j));
    }
  }
  return profile;
}

AxisProfile shift_profile(const PhysicalPart& part, bool both_directions, HalfwayTies ties,
                          std::int64_t shift) {
  AxisProfile profile = nothing(part);
  const std::int64_t n = part.part;
  for (std::int64_t from = 0; from < n; ++from) {
    const std::int64_t to = ((from + shift) % n + n) % n;
    add_way(profile, axis_way(part, both_directions, ties, from, to), from, 1);
  }
  return profile;
}

AxisProfile broadcast_profile(const PhysicalPart& part, bool both_directions) {
  AxisProfile profile = nothing(part);
  const std::int64_t n = part.part;
  const bool two = part.wraparound && both_directions;
  for (std::int64_t j = 0; j + 1 < n; ++j) {
    profile.positive[at(j)] = two ? 0.5 : 1;
    if (two) profile.negative[at((n - j) % n)] = 0.5;
  }
  return profile;
}

AxisLoad on_axis(const AxisProfile& profile, const PhysicalPart& part, std::int64_t size,
                 double unit) {
  AxisLoad load{part.axis, std::vector<double>(at(size)), std::vector<double>(at(size)), false};
  const std::int64_t segment = part.part * part.stride;
  for (std::int64_t first = 0; first < size; first += segment) {
    for (std::int64_t lane = 0; lane < part.stride; ++lane) {
      for (std::int64_t j = 0; j < part.part; ++j) {
        const std::int64_t chip = first + lane + j * part.stride;
        for (std::int64_t hop = 0; hop < part.stride; ++hop) {
          load.positive[at((chip + hop) % size)] += unit * profile.positive[at(j)];
          load.negative[at((chip - hop + size) % size)] += unit * profile.negative[at(j)];
        }
      }
    }
  }
  return load;
}

}  // namespace meshsim
