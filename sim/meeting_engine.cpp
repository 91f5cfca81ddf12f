#include "sim/meeting_engine.hpp"

#include <algorithm>
#include <cmath>

#include "units/error.hpp"

namespace meshsim {

void MeetingEngine::Agenda::reset(std::span<const std::int64_t> times) {
  leaves_ = 1;
  while (leaves_ < times.size()) leaves_ *= 2;
  times_.assign(leaves_, never);
  std::copy(times.begin(), times.end(), times_.begin());
  first_.resize(2 * leaves_);
  for (std::size_t i = 0; i < leaves_; ++i) first_[leaves_ + i] = static_cast<std::uint32_t>(i);
  for (std::size_t node = leaves_; --node > 0;) first_[node] = sooner(2 * node, 2 * node + 1);
}

void MeetingEngine::Agenda::set(std::uint32_t device, std::int64_t time) {
  times_[device] = time;
  for (std::size_t node = (leaves_ + device) / 2; node > 0; node /= 2)
    first_[node] = sooner(2 * node, 2 * node + 1);
}

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
  find_members();
  arrival_.resize(left_);
  agenda_.reset(starts);
  for (std::size_t d = 0; d < starts.size(); ++d) {
    devices_[d].now = starts[d];
    devices_[d].running.clear();
    devices_[d].changed = false;
    for (std::size_t i = 0; i < activities_; ++i)
      waiting_[d * activities_ + i] = graph.activities[i].predecessors;
  }
  std::vector<bool> begun(starts.size());
  for (;;) {
    const std::uint32_t device = agenda_.soonest();
    const std::int64_t now = agenda_.time(device);
    if (now == Agenda::never) break;
    if (begun[device]) {
      advance(device, now);
    } else {
      begun[device] = true;
      agenda_.set(device, Agenda::never);
      for (std::size_t i = 0; i < activities_; ++i) {
        if (graph.activities[i].predecessors == 0)
          ready_.push_back({device, static_cast<ActivityId>(i)});
      }
    }
    settle(now);
  }
  if (left_ != 0) throw Error(ErrorKind::internal, "devices wait for each other without end");
}

void MeetingEngine::find_members() {
  members_.resize(leaves_.size());
  for (std::size_t l = 0; l < leaves_.size(); ++l) {
    const std::span<const std::uint32_t> meetings = leaves_[l].meetings;
    Members& members = members_[l];
    members.first.assign(1, 0);
    members.devices.resize(meetings.size());
    for (const std::uint32_t meeting : meetings) {
      if (members.first.size() < meeting + 2) members.first.resize(meeting + 2, 0);
      ++members.first[meeting + 1];
    }
    for (std::size_t m = 1; m < members.first.size(); ++m) members.first[m] += members.first[m - 1];
    std::vector<std::size_t> next = members.first;
    for (std::size_t d = 0; d < meetings.size(); ++d)
      members.devices[next[meetings[d]]++] = static_cast<std::uint32_t>(d);
  }
  first_count_.clear();
  missing_.clear();
  for (const ActivityGraph::Activity& activity : graph_->activities) {
    first_count_.push_back(missing_.size());
    if (activity.leaf == ActivityGraph::join) continue;
    const std::vector<std::size_t>& first = members_[static_cast<std::size_t>(activity.leaf)].first;
    for (std::size_t m = 1; m < first.size(); ++m)
      missing_.push_back(static_cast<std::uint32_t>(first[m] - first[m - 1]));
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
  const auto at = static_cast<std::size_t>(id);
  arrival_[device * activities_ + at] = now;
  if (--missing_[first_count_[at] + meeting] > 0) return;
  const Members& members = members_[leaf];
  for (std::size_t i = members.first[meeting]; i < members.first[meeting + 1]; ++i) {
    const std::uint32_t one = members.devices[i];
    waited_[one] += now - arrival_[one * activities_ + at];
    if (one != device) advance(one, now);
    start(one, id, now);
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
  for (std::size_t next = 0; next < ready_.size();) {  // which grows meanwhile
    const auto one = ready_[next++];
    ready(one.device, one.id, now);
  }
  ready_.clear();
  for (const std::uint32_t device : changed_) {
    Device& at = devices_[device];
    at.changed = false;
    at.now = now;
    if (at.running.empty()) {
      agenda_.set(device, Agenda::never);
      continue;
    }
    if (at.running.size() == 1) {  // alone, at full speed
      at.running.front().speed = 1;
      const double left = at.running.front().left;
      agenda_.set(device, now + std::max<std::int64_t>(
                                    1, static_cast<std::int64_t>(std::ceil(left - 1e-6))));
      continue;
    }
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
    agenda_.set(device, now + std::max<std::int64_t>(
                                  1, static_cast<std::int64_t>(std::ceil(soonest - 1e-6))));
  }
  changed_.clear();
}

}  // namespace meshsim
