#include "sim/meeting_engine.hpp"

#include <algorithm>
#include <cmath>

#include "units/error.hpp"

namespace meshsim {

void MeetingEngine::run(const ActivityGraph& graph, std::span<const Leaf> leaves,
                        std::span<const std::int64_t> starts) {
  graph_ = &graph;
  leaves_ = leaves;
  activities_ = graph.activities.size();
  left_ = activities_ * starts.size();
  waiting_.resize(left_);
  devices_.resize(starts.size());
  ends_.assign(starts.begin(), starts.end());
  waited_.assign(starts.size(), 0);
  ready_.clear();
  changed_.clear();
  events_ = {};
  count_members();
  for (std::size_t d = 0; d < starts.size(); ++d) {
    devices_[d].now = devices_[d].next = starts[d];
    devices_[d].running.clear();
    devices_[d].changed = false;
    for (std::size_t i = 0; i < activities_; ++i)
      waiting_[d * activities_ + i] = graph.activities[i].predecessors;
    events_.push({starts[d], static_cast<std::uint32_t>(d)});
  }
  std::vector<bool> begun(starts.size());
  while (!events_.empty()) {
    const Event event = events_.top();
    events_.pop();
    Device& device = devices_[event.device];
    if (event.time != device.next) continue;  // it has changed since
    if (begun[event.device]) {
      advance(event.device, event.time);
    } else {
      begun[event.device] = true;
      for (std::size_t i = 0; i < activities_; ++i) {
        if (graph.activities[i].predecessors == 0)
          ready_.push_back({event.device, static_cast<ActivityId>(i)});
      }
    }
    settle(event.time);
  }
  if (left_ != 0) throw Error(ErrorKind::internal, "devices wait for each other without end");
}

// How many devices every meeting joins.
void MeetingEngine::count_members() {
  members_.resize(leaves_.size());
  for (std::size_t l = 0; l < leaves_.size(); ++l) {
    members_[l].clear();
    for (const std::uint32_t meeting : leaves_[l].meetings) {
      if (members_[l].size() <= meeting) members_[l].resize(meeting + 1);
      ++members_[l][meeting];
    }
  }
  arrived_.resize(activities_);
  for (std::size_t i = 0; i < activities_; ++i) {
    const std::int32_t leaf = graph_->activities[i].leaf;
    arrived_[i].assign(
        leaf == ActivityGraph::join ? 0 : members_[static_cast<std::size_t>(leaf)].size(), {});
  }
}

void MeetingEngine::ready(std::uint32_t device, ActivityId id, std::int64_t now) {
  const std::int32_t leaf = graph_->activities[static_cast<std::size_t>(id)].leaf;
  if (leaf == ActivityGraph::join) {
    finish(device, id, now);
  } else if (leaves_[static_cast<std::size_t>(leaf)].meetings.empty()) {
    start(device, id, now);
  } else {
    arrive(device, id, now);
  }
}

// The last one starts it for all.
void MeetingEngine::arrive(std::uint32_t device, ActivityId id, std::int64_t now) {
  const auto leaf = static_cast<std::size_t>(graph_->activities[static_cast<std::size_t>(id)].leaf);
  const std::uint32_t meeting = leaves_[leaf].meetings[device];
  std::vector<Arrived>& all = arrived_[static_cast<std::size_t>(id)][meeting];
  all.push_back({device, id, now});
  if (all.size() < members_[leaf][meeting]) return;
  for (const Arrived& one : all) {
    waited_[one.device] += now - one.time;
    if (one.device != device) advance(one.device, now);
    start(one.device, id, now);
  }
}

void MeetingEngine::start(std::uint32_t device, ActivityId id, std::int64_t now) {
  const auto leaf = static_cast<std::size_t>(graph_->activities[static_cast<std::size_t>(id)].leaf);
  const FluidLeaf& cost = leaves_[leaf].cost(device);
  if (cost.duration == 0) {
    finish(device, id, now);
    return;
  }
  Device& at = devices_[device];
  at.running.push_back({id, &cost, cost.duration, 0});
  if (!at.changed) changed_.push_back(device);
  at.changed = true;
}

void MeetingEngine::finish(std::uint32_t device, ActivityId id, std::int64_t now) {
  --left_;
  ends_[device] = std::max(ends_[device], now);
  for (const ActivityId next : graph_->after(id)) {
    if (--waiting_[device * activities_ + static_cast<std::size_t>(next)] == 0)
      ready_.push_back({device, next});
  }
}

// To `now`; what ends there ends in the order in which it started.
void MeetingEngine::advance(std::uint32_t device, std::int64_t now) {
  Device& at = devices_[device];
  if (at.now == now) return;
  const auto passed = static_cast<double>(now - at.now);
  at.now = now;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < at.running.size(); ++i) {
    Running running = at.running[i];
    running.left -= running.speed * passed;
    if (running.left <= 1e-3) {
      finish(device, running.id, now);
    } else {
      at.running[kept++] = running;
    }
  }
  at.running.resize(kept);
  if (!at.changed) changed_.push_back(device);
  at.changed = true;
}

// Starts what is ready at `now`, and what that makes ready, and finds the speeds from here on.
void MeetingEngine::settle(std::int64_t now) {
  for (std::size_t i = 0; i < ready_.size(); ++i) ready(ready_[i].device, ready_[i].id, now);
  ready_.clear();
  for (const std::uint32_t device : changed_) {
    Device& at = devices_[device];
    at.changed = false;
    at.now = now;
    at.next = -1;
    if (at.running.empty()) continue;
    double soonest = -1;
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
    at.next = now + std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(soonest - 1e-6)));
    events_.push({at.next, device});
  }
  changed_.clear();
}

}  // namespace meshsim
