// The levels of a component from its last solution.
//
// The resources stand in the order of their last levels, so that the group of every activity comes
// before the other resources that it uses. The sweep walks up from the lowest resource touched;
// those that it has not reached yet carry the marker `ahead` as their level, so that whoever reads
// one too early finds out at no cost. Two things may be found on the way:
//
//   too fast    activities of other groups run faster than the level of this resource: they join
//               its group, and the sweep goes back to the lowest group that lost some
//   early       this resource depends on one ahead of it (their levels were equal): it uses the
//               last level, and is computed again if that turns out to have changed, now or in
//               a later sweep
#include <algorithm>
#include <cmath>

#include "sim/network/max_min_system.hpp"

namespace meshsim {
namespace {

constexpr double ahead = 1e300;

bool differ(double a, double b) {
  return a != b && !(std::abs(a - b) <= MaxMinSystem::precision * std::min(a, b));
}

}  // namespace

// Returns false if the groups do not come to rest soon: then the component is to be filled anew.
bool MaxMinSystem::sweep(Component& component) {
  std::vector<ResourceId>& order = component.order;
  early_reads_.clear();
  // Resources without a group depend on others and nobody on them: they go last.
  const auto grouped = [&](ResourceId r) { return own_count_[index(r)] > 0; };
  if (!std::is_partitioned(order.begin(), order.end(), grouped))
    std::stable_partition(order.begin(), order.end(), grouped);
  std::size_t start = 0;
  while (start < order.size() && grouped(order[start]) && !touched_[index(order[start])]) ++start;
  for (const ResourceId reader : component.early_readers)
    start = std::min(start, static_cast<std::size_t>(std::find(order.begin(), order.end(), reader) -
                                                     order.begin()));
  for (std::size_t i = start; i < order.size(); ++i) {
    const std::size_t r = index(order[i]);
    before_[r] = level_[r];
    level_[r] = ahead;
    read_early_[r] = 0;
  }
  for (std::size_t i = 0; i < order.size(); ++i)
    position_[index(order[i])] = static_cast<std::int32_t>(i);
  std::size_t budget = 20 * order.size() + 100;
  for (std::size_t position = start; position < order.size();) {
    if (budget-- == 0) return false;
    if (settle(component, position)) ++position;
  }
  component.early_readers.clear();
  for (const EarlyRead& read : early_reads_) component.early_readers.push_back(read.by);
  return true;
}

// Computes the level of the resource at `position`. Returns false if the sweep is to go on at
// another `position`, which it sets.
bool MaxMinSystem::settle(Component& component, std::size_t& position) {
  const ResourceId resource = component.order[position];
  const std::size_t r = index(resource);
  double taken = 0;
  double fastest = 0;
  for (const Share& share : row_[r]) {
    const double level = level_[index(share.of)];
    taken += share.amount * level;
    fastest = std::max(fastest, level);
  }
  if (own_count_[r] > 0) {
    const double level = (capacity_[r] - taken) / own_amount_[r];
    if (!(fastest <= level * (1 + precision))) return settle_slowly(component, position);
    level_[r] = level;
  } else {
    if (!(taken <= capacity_[r] * (1 + precision))) return settle_slowly(component, position);
    level_[r] = unbounded;
  }
  std::size_t reader = 0;
  if (!read_early_[index(resource)] || !early_read_failed(resource, reader)) return true;
  restart(component, reader, position);
  position = reader;
  return false;
}

bool MaxMinSystem::early_read_failed(ResourceId resource, std::size_t& reader) const {
  bool failed = false;
  for (const EarlyRead& read : early_reads_) {
    if (read.of != resource || !differ(read.value, level(resource))) continue;
    const auto by = static_cast<std::size_t>(position_[index(read.by)]);
    reader = failed ? std::min(reader, by) : by;
    failed = true;
  }
  return failed;
}

bool MaxMinSystem::settle_slowly(Component& component, std::size_t& position) {
  const ResourceId resource = component.order[position];
  const double level = water_level(resource);
  std::size_t reader = 0;
  if (pulled_.empty()) {
    level_[index(resource)] = level;
    if (!read_early_[index(resource)] || !early_read_failed(resource, reader)) return true;
    restart(component, reader, position);
    position = reader;
    return false;
  }
  before_[index(resource)] = level;
  level_[index(resource)] = level;
  const std::size_t back = std::min(pull(resource), position);
  restart(component, back, position);
  position = back;
  return false;
}

// The level at which `resource` is exactly full when whoever runs faster is slowed down to it;
// those groups are left in pulled_.
double MaxMinSystem::water_level(ResourceId resource) {
  const std::size_t r = index(resource);
  candidates_.clear();
  pulled_.clear();
  double open = own_amount_[r];
  for (const Share& share : row_[r]) {
    const bool early = level_[index(share.of)] == ahead;
    const double level = early ? before_[index(share.of)] : level_[index(share.of)];
    if (early) {
      early_reads_.push_back({share.of, resource, level});
      read_early_[index(share.of)] = 1;
    }
    candidates_.push_back({level, share.amount, share.of});
    open += share.amount;
  }
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.level != b.level ? a.level < b.level : a.of < b.of;
  });
  double left = capacity_[r];
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const double level = left / open;
    if (candidates_[i].level > level * (1 + precision)) {
      for (; i < candidates_.size(); ++i) pulled_.push_back(candidates_[i].of);
      return level;
    }
    left -= candidates_[i].level * candidates_[i].amount;
    open -= candidates_[i].amount;
  }
  return own_count_[r] > 0 ? left / own_amount_[r] : unbounded;
}

// Moves the activities of the pulled_ groups that use `to` into its group. Returns the position of
// the first resource that this concerns.
std::size_t MaxMinSystem::pull(ResourceId to) {
  std::size_t first = component_.size();
  for (const ResourceId from : pulled_)
    first = std::min(first, static_cast<std::size_t>(position_[index(from)]));
  for (const ActivityId activity : activities_[index(to)]) {
    if (!is_active(activity)) continue;
    const ResourceId from = bottleneck_[index(activity)];
    if (from == to || std::find(pulled_.begin(), pulled_.end(), from) == pulled_.end()) continue;
    move(activity, to);
    for (const Use& use : uses(activity)) {
      if (own_count_[index(use.resource)] > 0)
        first = std::min(first, static_cast<std::size_t>(position_[index(use.resource)]));
    }
  }
  return first;
}

// Puts the resources from `from` to `to` in order of the levels found, and ahead of the sweep.
void MaxMinSystem::restart(Component& component, std::size_t from, std::size_t to) {
  const auto first = component.order.begin() + static_cast<std::ptrdiff_t>(from);
  const auto last = component.order.begin() + static_cast<std::ptrdiff_t>(to) + 1;
  const auto found = [&](ResourceId resource) {
    const std::size_t r = index(resource);
    if (own_count_[r] == 0) return unbounded;
    return level_[r] == ahead ? before_[r] : level_[r];
  };
  std::stable_sort(first, last, [&](ResourceId a, ResourceId b) { return found(a) < found(b); });
  for (auto at = first; at != last; ++at) {
    const std::size_t r = index(*at);
    if (level_[r] != ahead) before_[r] = level_[r];
    level_[r] = ahead;
    position_[r] = static_cast<std::int32_t>(at - component.order.begin());
  }
  std::erase_if(early_reads_, [&](const EarlyRead& read) {
    return position_[index(read.by)] >= static_cast<std::int32_t>(from) &&
           position_[index(read.by)] <= static_cast<std::int32_t>(to);
  });
}

}  // namespace meshsim
