#include "sim/meeting_engine.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "units/error.hpp"

namespace meshsim {

void MeetingEngine::run(const ActivityGraph& graph, std::span<const Leaf> leaves,
                        std::span<const std::int64_t> starts) {
  graph_ = &graph;
  leaves_ = leaves;
  activities_ = graph.activities.size();
  ends_.assign(starts.begin(), starts.end());
  waited_.assign(starts.size(), 0);
  ready_.clear();
  changed_.clear();
  own_.clear();
  for (const Leaf& leaf : leaves)
    if (!leaf.cost_of.empty()) own_.push_back(&leaf);
  find_members();
  find_circles(starts.size());
  for (std::size_t c = 0; c + 1 < first_of_.size(); ++c)
    run_circle(std::span(circles_).subspan(first_of_[c], first_of_[c + 1] - first_of_[c]), starts);
}

void MeetingEngine::find_members() {
  kinds_ = 0;
  kind_.assign(leaves_.size(), 0);
  for (std::size_t l = 0; l < leaves_.size(); ++l) {
    const std::span<const std::uint32_t> meetings = leaves_[l].meetings;
    if (meetings.empty()) continue;
    std::size_t& kind = kind_[l];
    while (kind < kinds_ && members_[kind].meetings != meetings.data()) ++kind;
    if (kind < kinds_) continue;
    if (members_.size() == kinds_++) members_.emplace_back();
    Members& members = members_[kind];
    members.meetings = meetings.data();
    members.first.assign(*std::max_element(meetings.begin(), meetings.end()) + std::size_t{2}, 0);
    for (const std::uint32_t meeting : meetings) ++members.first[meeting + 1];
    std::partial_sum(members.first.begin(), members.first.end(), members.first.begin());
    members.devices.resize(meetings.size());
    for (std::size_t d = 0; d < meetings.size(); ++d)
      members.devices[members.first[meetings[d]]++] = static_cast<std::uint32_t>(d);
    // Each has moved to where the next one begins.
    std::move_backward(members.first.begin(), members.first.end() - 1, members.first.end());
    members.first.front() = 0;
  }
  first_count_.clear();
  missing_.clear();
  for (const ActivityGraph::Activity& activity : graph_->activities) {
    first_count_.push_back(missing_.size());
    if (activity.leaf == ActivityGraph::join) continue;
    const auto leaf = static_cast<std::size_t>(activity.leaf);
    if (leaves_[leaf].meetings.empty()) continue;
    const std::vector<std::size_t>& first = members_[kind_[leaf]].first;
    for (std::size_t m = 1; m < first.size(); ++m)
      missing_.push_back(static_cast<std::uint32_t>(first[m] - first[m - 1]));
  }
}

std::uint32_t MeetingEngine::root(std::uint32_t device) {
  while (parents_[device] != device) device = parents_[device] = parents_[parents_[device]];
  return device;
}

// Circles in the order of their first devices, in each the devices in order.
void MeetingEngine::find_circles(std::size_t devices) {
  parents_.resize(devices);
  std::iota(parents_.begin(), parents_.end(), 0);
  for (std::size_t kind = 0; kind < kinds_; ++kind) {
    const Members& members = members_[kind];
    for (std::size_t m = 1; m < members.first.size(); ++m) {
      for (std::size_t i = members.first[m - 1] + 1; i < members.first[m]; ++i) {
        const std::uint32_t a = root(members.devices[i - 1]), b = root(members.devices[i]);
        parents_[std::max(a, b)] = std::min(a, b);
      }
    }
  }
  // Of the first device of a circle: the number of the circle, and how many it holds so far.
  first_of_.assign(1, 0);
  place_.resize(devices);
  circles_.resize(devices);
  std::vector<std::uint32_t>& number = circles_;
  for (std::uint32_t d = 0; d < devices; ++d) {
    const std::uint32_t first = root(d);
    parents_[d] = first;
    if (first == d) {
      number[d] = static_cast<std::uint32_t>(first_of_.size() - 1);
      first_of_.push_back(0);
    }
    place_[d] = static_cast<std::uint32_t>(first_of_[number[first] + 1]++);
  }
  for (std::uint32_t d = 0; d < devices; ++d) parents_[d] = number[parents_[d]];
  std::partial_sum(first_of_.begin(), first_of_.end(), first_of_.begin());
  for (std::uint32_t d = 0; d < devices; ++d) circles_[first_of_[parents_[d]] + place_[d]] = d;
}

void MeetingEngine::run_circle(std::span<const std::uint32_t> circle,
                               std::span<const std::int64_t> starts) {
  left_ = activities_ * circle.size();
  if (waiting_.size() < left_) {
    waiting_.resize(left_);
    arrival_.resize(left_);
  }
  if (devices_.size() < circle.size()) devices_.resize(circle.size());
  agenda_.reset(circle.size());
  for (std::uint32_t one = 0; one < circle.size(); ++one) {
    Device& device = devices_[one];
    device.number = circle[one];
    device.now = starts[circle[one]];
    device.running.clear();
    device.begun = device.changed = false;
    for (std::size_t i = 0; i < activities_; ++i)
      waiting_[one * activities_ + i] = graph_->activities[i].predecessors;
    agenda_.set(one, device.now);
    // Costs of their own lie far apart: they are fetched while the circle is set up.
    for (const Leaf* leaf : own_) {
      const FluidLeaf& cost = leaf->cost(device.number);
      __builtin_prefetch(&cost.duration);
      __builtin_prefetch(&cost.uses.back());
    }
  }
  for (std::int64_t now = agenda_.time(); now != Agenda::never; now = agenda_.time()) {
    const std::uint32_t one = agenda_.soonest();
    ++events_;
    if (devices_[one].begun) {
      advance(one, now);
    } else {
      devices_[one].begun = true;
      agenda_.set(one, Agenda::never);
      for (std::size_t i = 0; i < activities_; ++i) {
        if (graph_->activities[i].predecessors == 0)
          ready_.push_back({one, static_cast<ActivityId>(i)});
      }
    }
    settle(now);
  }
  if (left_ != 0) throw Error(ErrorKind::internal, "devices wait for each other without end");
}

void MeetingEngine::ready(std::uint32_t one, ActivityId id, std::int64_t now) {
  const std::int32_t leaf = graph_->activities[static_cast<std::size_t>(id)].leaf;
  if (leaf == ActivityGraph::join) {
    finish(one, id, now);
  } else if (leaves_[static_cast<std::size_t>(leaf)].meetings.empty()) {
    start(one, id, now);
  } else {
    arrive(one, id, now);
  }
}

// The last one starts it for all.
void MeetingEngine::arrive(std::uint32_t one, ActivityId id, std::int64_t now) {
  const auto at = static_cast<std::size_t>(id);
  const auto leaf = static_cast<std::size_t>(graph_->activities[at].leaf);
  const std::uint32_t meeting = leaves_[leaf].meetings[devices_[one].number];
  arrival_[one * activities_ + at] = now;
  if (--missing_[first_count_[at] + meeting] > 0) return;
  const Members& members = members_[kind_[leaf]];
  for (std::size_t i = members.first[meeting]; i < members.first[meeting + 1]; ++i) {
    const std::uint32_t device = members.devices[i];
    const std::uint32_t other = place_[device];
    waited_[device] += now - arrival_[other * activities_ + at];
    if (other != one) advance(other, now);
    start(other, id, now);
  }
}

void MeetingEngine::start(std::uint32_t one, ActivityId id, std::int64_t now) {
  const auto leaf = static_cast<std::size_t>(graph_->activities[static_cast<std::size_t>(id)].leaf);
  Device& at = devices_[one];
  const FluidLeaf& cost = leaves_[leaf].cost(at.number);
  if (cost.duration == 0) {
    finish(one, id, now);
    return;
  }
  at.running.push_back({id, &cost, cost.duration, 0});
  if (!at.changed) changed_.push_back(one);
  at.changed = true;
}

void MeetingEngine::finish(std::uint32_t one, ActivityId id, std::int64_t now) {
  --left_;
  std::int64_t& end = ends_[devices_[one].number];
  end = std::max(end, now);
  for (const ActivityId next : graph_->after(id)) {
    if (--waiting_[one * activities_ + static_cast<std::size_t>(next)] == 0)
      ready_.push_back({one, next});
  }
}

// To `now`; what ends there ends in the order in which it started.
void MeetingEngine::advance(std::uint32_t one, std::int64_t now) {
  Device& at = devices_[one];
  if (at.now == now) return;
  const auto passed = static_cast<double>(now - at.now);
  at.now = now;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < at.running.size(); ++i) {
    Running running = at.running[i];
    running.left -= running.speed * passed;
    if (running.left <= 1e-3) {
      finish(one, running.id, now);
    } else {
      at.running[kept++] = running;
    }
  }
  at.running.resize(kept);
  if (!at.changed) changed_.push_back(one);
  at.changed = true;
}

// Starts what is ready at `now`, and what that makes ready, and finds the speeds from here on.
void MeetingEngine::settle(std::int64_t now) {
  for (std::size_t next = 0; next < ready_.size();) {  // which grows meanwhile
    const auto ready_one = ready_[next++];
    ready(ready_one.one, ready_one.id, now);
  }
  ready_.clear();
  for (const std::uint32_t one : changed_) {
    devices_[one].changed = false;
    devices_[one].now = now;
    find_speeds(one);
  }
  changed_.clear();
}

void MeetingEngine::find_speeds(std::uint32_t one) {
  Device& at = devices_[one];
  double soonest = -1;
  if (at.running.size() == 1) {  // alone, at full speed
    at.running.front().speed = 1;
    soonest = at.running.front().left;
  } else if (at.running.size() > 1) {
    uses_.clear();
    speeds_.resize(at.running.size());
    for (const Running& running : at.running) uses_.push_back(running.cost->uses.data());
    sharing_.solve(uses_, resource_count, speeds_);
    for (std::size_t i = 0; i < at.running.size(); ++i) {
      at.running[i].speed = speeds_[i];
      if (speeds_[i] <= 0) continue;
      const double wait = at.running[i].left / speeds_[i];
      if (soonest < 0 || wait < soonest) soonest = wait;
    }
    if (soonest < 0) throw Error(ErrorKind::internal, "no operation of a device can run");
  }
  const auto wait = static_cast<std::int64_t>(std::ceil(soonest - 1e-6));
  agenda_.set(one, soonest < 0 ? Agenda::never : at.now + std::max<std::int64_t>(1, wait));
}

}  // namespace meshsim
