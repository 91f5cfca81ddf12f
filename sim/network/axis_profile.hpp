// What one axis of a group carries: how often a unit crosses the link from member j to j + 1 and
// the one from member j back to j - 1.
//
// Members of one axis are numbered 0 to n - 1. On a ring, `positive[n-1]` closes it; on a line that
// link does not exist and stays 0. Counts are of one group; the groups that are interleaved on the
// axis (stride > 1) are laid over each other by `on_axis`.
#pragma once

#include "sim/network/collective.hpp"

namespace meshsim {

struct AxisProfile {
  std::vector<double> positive, negative;  // of the link that leaves member j
};

// How members `from` and `to` of a ring or line reach each other.
struct AxisWay {
  std::int64_t positive_hops = 0, negative_hops = 0;  // member to member
  double positive_share = 0, negative_share = 0;      // of the bytes
};
AxisWay axis_way(const PhysicalPart& part, bool both_directions, HalfwayTies ties,
                 std::int64_t from, std::int64_t to);

// Adds `amount` to the links on the way.
void add_way(AxisProfile& profile, const AxisWay& way, std::int64_t from, double amount);

// In units of a shard: every member ends with the shards of all (mirrored: a reduce-scatter).
AxisProfile gather_profile(const PhysicalPart& part, bool both_directions, bool mirrored);
// In units of what one member sends to one other.
AxisProfile all_to_all_profile(const PhysicalPart& part, bool both_directions, HalfwayTies ties);
AxisProfile shift_profile(const PhysicalPart& part, bool both_directions, HalfwayTies ties,
                          std::int64_t shift);
AxisProfile broadcast_profile(const PhysicalPart& part, bool both_directions);

// The links of a whole physical axis of `size` chips: `unit` times the profile, of all groups.
AxisLoad on_axis(const AxisProfile& profile, const PhysicalPart& part, std::int64_t size,
                 double unit);

}  // namespace meshsim
