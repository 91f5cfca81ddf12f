#include "sim/network/max_min_system.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "units/error.hpp"

namespace meshsim {
namespace {

bool is_positive(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

MaxMinSystem::MaxMinSystem(std::vector<double> capacities) : capacity_(std::move(capacities)) {
  const std::size_t count = capacity_.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_positive(capacity_[i])) {
      throw Error(ErrorKind::invalid_input,
                  fmt::format("the capacity of resource {} must be finite and above 0 (got {})", i,
                              capacity_[i]));
    }
  }
  level_.assign(count, unbounded);
  own_amount_.assign(count, 0);
  own_count_.assign(count, 0);
  component_.assign(count, none);
  position_.assign(count, 0);
  row_.resize(count);
  activities_.resize(count);
  ended_.assign(count, 0);
  touched_.assign(count, false);
  before_.assign(count, 0);
  read_early_.assign(count, 0);
  left_.assign(count, 0);
  open_amount_.assign(count, 0);
  open_count_.assign(count, 0);
}

std::span<const MaxMinSystem::Use> MaxMinSystem::uses(ActivityId activity) const {
  const std::size_t first = first_use_[index(activity)];
  const std::size_t last =
      index(activity) + 1 < first_use_.size() ? first_use_[index(activity) + 1] : uses_.size();
  return {uses_.data() + first, last - first};
}

double MaxMinSystem::rate(ActivityId activity) const {
  return normalised_rate(activity) * weight_[index(activity)];
}

ActivityId MaxMinSystem::add(std::span<const Demand> demands, double weight) {
  bool fine = !demands.empty() && is_positive(weight);
  for (std::size_t i = 0; i < demands.size(); ++i) {
    fine = fine && is_positive(demands[i].amount) && demands[i].resource >= 0 &&
           index(demands[i].resource) < capacity_.size();
    for (std::size_t j = 0; j < i; ++j) fine = fine && demands[j].resource != demands[i].resource;
  }
  if (!fine) {
    throw Error(ErrorKind::invalid_input,
                "an activity needs a weight above 0 and demands above 0 on resources that exist, "
                "each named once");
  }
  begin_changes();
  merge(demands);
  const auto id = static_cast<ActivityId>(weight_.size());
  first_use_.push_back(uses_.size());
  for (const Demand& demand : demands) {
    uses_.push_back({demand.resource, demand.amount * weight});
    activities_[index(demand.resource)].push_back(id);
    touch(demand.resource);
  }
  weight_.push_back(weight);
  bottleneck_.push_back(none);
  moved_.push_back(true);
  moves_.push_back({id, none});
  ++active_;
  ++components_[index(component_[index(demands.front().resource)])].activities;
  // Where it will most likely be held back; the sweep puts right what is not so.
  ResourceId lowest = demands.front().resource;
  for (const Demand& demand : demands) {
    if (level(demand.resource) < level(lowest)) lowest = demand.resource;
  }
  join(id, lowest);
  return id;
}

void MaxMinSystem::remove(ActivityId activity) {
  begin_changes();
  leave(activity);
  for (const Use& use : uses(activity)) {
    touch(use.resource);
    ++ended_[index(use.resource)];
  }
  --components_[index(component_[index(uses(activity).front().resource)])].activities;
  weight_[index(activity)] = 0;
  --active_;
  for (const Use& use : uses(activity)) forget_ended(use.resource);
}

void MaxMinSystem::forget_ended(ResourceId resource) {
  std::vector<ActivityId>& all = activities_[index(resource)];
  if (2 * index(ended_[index(resource)]) <= all.size()) return;
  std::erase_if(all, [&](ActivityId activity) { return !is_active(activity); });
  ended_[index(resource)] = 0;
}

void MaxMinSystem::touch(ResourceId resource) {
  touched_[index(resource)] = true;
  Component& component = components_[index(component_[index(resource)])];
  if (component.touched) return;
  component.touched = true;
  touched_components_.push_back(component_[index(resource)]);
}

// The resources of an activity belong together: the smaller components join the largest.
void MaxMinSystem::merge(std::span<const Demand> demands) {
  std::int32_t into = none;
  for (const Demand& demand : demands) {
    std::int32_t& own = component_[index(demand.resource)];
    if (own == none) {
      if (free_components_.empty()) {
        free_components_.push_back(static_cast<std::int32_t>(components_.size()));
        components_.emplace_back();
      }
      own = free_components_.back();
      free_components_.pop_back();
      components_[index(own)] = {{demand.resource}, {}, 0, 0, false};
      position_[index(demand.resource)] = 0;
    }
    if (into == none ||
        components_[index(own)].order.size() > components_[index(into)].order.size())
      into = own;
  }
  Component& target = components_[index(into)];
  bool merged = false;
  for (const Demand& demand : demands) {
    const std::int32_t old = component_[index(demand.resource)];
    if (old == into) continue;
    Component& source = components_[index(old)];
    for (const ResourceId resource : source.order) component_[index(resource)] = into;
    target.order.insert(target.order.end(), source.order.begin(), source.order.end());
    target.early_readers.insert(target.early_readers.end(), source.early_readers.begin(),
                                source.early_readers.end());
    target.activities += source.activities;
    target.activities_when_built += source.activities_when_built;
    if (source.touched) std::erase(touched_components_, old);
    source = {};
    free_components_.push_back(old);
    merged = true;
  }
  if (!merged) return;
  // One after the other: who depends on whom keeps its place.
  for (std::size_t i = 0; i < target.order.size(); ++i)
    position_[index(target.order[i])] = static_cast<std::int32_t>(i);
}

void MaxMinSystem::add_share(ResourceId row, ResourceId of, double amount) {
  for (Share& share : row_[index(row)]) {
    if (share.of != of) continue;
    ++share.count;
    share.amount += amount;
    return;
  }
  row_[index(row)].push_back({of, 1, amount});
}

void MaxMinSystem::drop_share(ResourceId row, ResourceId of, double amount) {
  std::vector<Share>& shares = row_[index(row)];
  for (Share& share : shares) {
    if (share.of != of) continue;
    share.amount -= amount;
    if (--share.count == 0) {
      share = shares.back();
      shares.pop_back();
    }
    return;
  }
}

void MaxMinSystem::join(ActivityId activity, ResourceId group) {
  for (const Use& use : uses(activity)) {
    if (use.resource == group) {
      ++own_count_[index(group)];
      own_amount_[index(group)] += use.amount;
    } else {
      add_share(use.resource, group, use.amount);
    }
  }
  bottleneck_[index(activity)] = group;
}

void MaxMinSystem::leave(ActivityId activity) {
  const ResourceId group = bottleneck_[index(activity)];
  if (group == none) return;
  for (const Use& use : uses(activity)) {
    if (use.resource != group) {
      drop_share(use.resource, group, use.amount);
    } else {
      own_amount_[index(group)] -= use.amount;
      if (--own_count_[index(group)] == 0) own_amount_[index(group)] = 0;
    }
  }
  bottleneck_[index(activity)] = none;
}

void MaxMinSystem::move(ActivityId activity, ResourceId to) {
  if (!moved_[index(activity)]) {
    moved_[index(activity)] = true;
    moves_.push_back({activity, bottleneck_[index(activity)]});
  }
  leave(activity);
  join(activity, to);
}

void MaxMinSystem::begin_changes() {
  if (current_) moves_.clear();
  current_ = false;
}

void MaxMinSystem::solve() {
  begin_changes();
  current_ = true;
  solved_.clear();
  std::vector<std::int32_t> touched;
  touched.swap(touched_components_);
  for (const std::int32_t id : touched) {
    Component& component = components_[index(id)];
    const bool halved = 2 * component.activities < component.activities_when_built;
    const bool doubled =
        component.activities > 2 * component.activities_when_built && component.activities > 8;
    if (halved || doubled) {
      split(id);  // and fills the parts
    } else {
      if (!sweep(component)) fill(id);
      Component& swept = components_[index(id)];
      swept.touched = false;
      solved_.insert(solved_.end(), swept.order.begin(), swept.order.end());
    }
  }
  for (const ResourceId resource : solved_) touched_[index(resource)] = false;
  for (const Move& entry : moves_) moved_[index(entry.activity)] = false;
  std::erase_if(moves_, [&](const Move& entry) {
    return !is_active(entry.activity) || bottleneck(entry.activity) == entry.from;
  });
#ifdef MESHSIM_CERTIFY_EVERY_SOLVE
  if (!certified(1e-6)) throw Error(ErrorKind::internal, "a sharing of capacities is not fair");
#endif
}

bool MaxMinSystem::certified(double tolerance) const {
  std::vector<double> used(capacity_.size());
  std::vector<double> fastest(capacity_.size());
  for (ActivityId id = 0; index(id) < weight_.size(); ++id) {
    if (!is_active(id)) continue;
    for (const Use& use : uses(id)) {
      used[index(use.resource)] += use.amount * normalised_rate(id);
      fastest[index(use.resource)] = std::max(fastest[index(use.resource)], normalised_rate(id));
    }
  }
  for (std::size_t r = 0; r < used.size(); ++r) {
    if (!(used[r] <= capacity_[r] * (1 + tolerance))) return false;
  }
  for (ActivityId id = 0; index(id) < weight_.size(); ++id) {
    if (!is_active(id)) continue;
    const std::span<const Use> own = uses(id);
    const bool held = std::any_of(own.begin(), own.end(), [&](const Use& use) {
      const std::size_t r = index(use.resource);
      return used[r] >= capacity_[r] * (1 - tolerance) &&
             normalised_rate(id) >= fastest[r] * (1 - tolerance);
    });
    if (!held) return false;
  }
  return true;
}

}  // namespace meshsim
