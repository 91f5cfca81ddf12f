// Progressive filling from scratch: all rates rise together; the resource that is full first fixes
// those who use it; and so on with what is left. Used for a component of which much is new.
#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "sim/network/max_min_system.hpp"

namespace meshsim {

// Activities have ended since the component was built: it may have fallen into parts. Each part is
// filled anew; resources that nobody uses belong to none.
void MaxMinSystem::split(std::int32_t id) {
  const std::vector<ResourceId> all = std::move(components_[index(id)].order);
  components_[index(id)] = {};
  free_components_.push_back(id);
  for (const ResourceId resource : all) component_[index(resource)] = none;
  for (const ResourceId seed : all) {
    if (component_[index(seed)] != none) continue;
    level_[index(seed)] = unbounded;
    std::erase_if(activities_[index(seed)], [&](ActivityId each) { return !is_active(each); });
    ended_[index(seed)] = 0;
    if (activities_[index(seed)].empty()) {
      solved_.push_back(seed);
      continue;
    }
    if (free_components_.empty()) {
      free_components_.push_back(static_cast<std::int32_t>(components_.size()));
      components_.emplace_back();
    }
    const std::int32_t part = free_components_.back();
    free_components_.pop_back();
    std::vector<ResourceId> reached{seed};
    component_[index(seed)] = part;
    std::int64_t counted = 0;
    for (std::size_t next = 0; next < reached.size(); ++next) {
      std::vector<ActivityId>& users = activities_[index(reached[next])];
      std::erase_if(users, [&](ActivityId each) { return !is_active(each); });
      ended_[index(reached[next])] = 0;
      for (const ActivityId activity : users) {
        if (uses(activity).front().resource == reached[next]) ++counted;
        for (const Use& use : uses(activity)) {
          if (component_[index(use.resource)] == part) continue;
          component_[index(use.resource)] = part;
          reached.push_back(use.resource);
        }
      }
    }
    components_[index(part)] = {std::move(reached), {}, counted, counted, false};
    fill(part);
    const std::vector<ResourceId>& order = components_[index(part)].order;
    solved_.insert(solved_.end(), order.begin(), order.end());
  }
}

void MaxMinSystem::fix_all(ResourceId full, double level) {
  level_[index(full)] = level;
  for (const ActivityId activity : activities_[index(full)]) {
    if (!is_active(activity) || bottleneck_[index(activity)] != none) continue;
    bottleneck_[index(activity)] = full;
    for (const Use& use : uses(activity)) {
      const std::size_t r = index(use.resource);
      left_[r] -= use.amount * level;
      open_amount_[r] -= use.amount;
      --open_count_[r];
      if (use.resource == full) {
        ++own_count_[r];
        own_amount_[r] += use.amount;
      } else if (!row_[r].empty() && row_[r].back().of == full) {
        ++row_[r].back().count;
        row_[r].back().amount += use.amount;
      } else {
        row_[r].push_back({full, 1, use.amount});
      }
    }
  }
}

void MaxMinSystem::fill(std::int32_t id) {
  Component& component = components_[index(id)];
  component.activities_when_built = component.activities;
  component.early_readers.clear();
  // The share that each open activity would get, with the resource; shares only rise.
  using Offer = std::pair<double, ResourceId>;
  std::priority_queue<Offer, std::vector<Offer>, std::greater<>> offers;
  for (const ResourceId resource : component.order) {
    const std::size_t r = index(resource);
    level_[r] = unbounded;
    own_amount_[r] = 0;
    own_count_[r] = 0;
    row_[r].clear();
    left_[r] = capacity_[r];
    open_amount_[r] = 0;
    open_count_[r] = 0;
    for (const ActivityId activity : activities_[r]) {
      if (!is_active(activity)) continue;
      const std::span<const Use> all = uses(activity);
      if (all.front().resource == resource && bottleneck_[index(activity)] != none) {
        if (!moved_[index(activity)]) {
          moved_[index(activity)] = true;
          moves_.push_back({activity, bottleneck_[index(activity)]});
        }
        bottleneck_[index(activity)] = none;
      }
      for (const Use& use : all) {
        if (use.resource == resource) open_amount_[r] += use.amount;
      }
      ++open_count_[r];
    }
    if (open_count_[r] > 0) offers.push({left_[r] / open_amount_[r], resource});
  }
  std::vector<ResourceId> order;
  order.reserve(component.order.size());
  while (!offers.empty()) {
    const auto [offered, resource] = offers.top();
    offers.pop();
    const std::size_t r = index(resource);
    if (open_count_[r] == 0) continue;
    const double share = std::max(0.0, left_[r]) / open_amount_[r];
    if (share > offered) {
      offers.push({share, resource});
      continue;
    }
    fix_all(resource, share);
    order.push_back(resource);
  }
  for (const ResourceId resource : component.order) {
    if (level_[index(resource)] == unbounded) order.push_back(resource);
  }
  component.order = std::move(order);
  for (std::size_t i = 0; i < component.order.size(); ++i)
    position_[index(component.order[i])] = static_cast<std::int32_t>(i);
}

}  // namespace meshsim
