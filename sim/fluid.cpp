#include "sim/fluid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "units/error.hpp"

namespace meshsim {

FluidLeaf fluid_leaf(bool on_core, const Price& price) {
  FluidLeaf cost;
  cost.duration = static_cast<double>(price.duration.value());
  cost.on_core = on_core;
  for (std::size_t r = 0; r < resource_count; ++r) cost.uses[r] = price.use(r);
  return cost;
}

FluidLeaf fluid_leaf(const Leaf& leaf, const Price& price) {
  return fluid_leaf(std::holds_alternative<Compute>(leaf.work), price);
}

std::int64_t FluidEngine::run(const ActivityGraph& graph, std::span<const FluidLeaf> leaves,
                              bool record_intervals) {
  graph_ = &graph;
  leaves_ = leaves;
  record_intervals_ = record_intervals;
  now_ = 0;
  finished_ = 0;
  next_ready_ = 0;
  ready_.clear();
  running_.clear();
  intervals_.clear();
  times_.assign(leaves.size(), {});
  waiting_.resize(graph.activities.size());
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    waiting_[i] = graph.activities[i].predecessors;
    if (waiting_[i] == 0) ready_.push_back(static_cast<ActivityId>(i));
  }
  start_ready();
  while (!running_.empty()) advance();
  if (finished_ != graph.activities.size()) fail_stuck();
  return now_;
}

void FluidEngine::start(ActivityId id) {
  const std::int32_t leaf = graph_->activities[static_cast<std::size_t>(id)].leaf;
  if (leaf == ActivityGraph::join) {
    finish(id);
  } else if (cost(leaf).duration == 0) {
    if (record_intervals_) intervals_.push_back({leaf, now_, now_, id});
    finish(id);
  } else {
    running_.push_back({id, leaf, cost(leaf).duration, now_});
  }
}

void FluidEngine::finish(ActivityId id) {
  ++finished_;
  for (const ActivityId next : graph_->after(id)) {
    if (--waiting_[static_cast<std::size_t>(next)] == 0) ready_.push_back(next);
  }
}

// Also what becomes ready on the way: work that takes no time ends where it starts.
void FluidEngine::start_ready() {
  while (next_ready_ < ready_.size()) start(ready_[next_ready_++]);
  ready_.clear();
  next_ready_ = 0;
}

// To the next end of an activity; all that end there end in the order in which they started.
void FluidEngine::advance() {
  speeds_.resize(running_.size());
  uses_.clear();
  for (const Running& running : running_) uses_.push_back(cost(running.leaf).uses.data());
  sharing_.solve(uses_, resource_count, speeds_);
  double soonest = -1;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (speeds_[i] <= 0) continue;
    const double wait = running_[i].left / speeds_[i];
    if (soonest < 0 || wait < soonest) soonest = wait;
  }
  if (soonest < 0) fail_stuck();
  const auto step = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(soonest - 1e-6)));
  attribute(step);
  now_ += step;
  ended_.clear();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Running& running = running_[i];
    running.left -= speeds_[i] * static_cast<double>(step);
    if (running.left <= 1e-3) {
      ended_.push_back(running.id);
      if (record_intervals_) intervals_.push_back({running.leaf, running.start, now_, running.id});
    } else {
      running_[kept++] = running;
    }
  }
  running_.resize(kept);
  for (const ActivityId id : ended_) finish(id);
  start_ready();
}

void FluidEngine::attribute(std::int64_t step) {
  std::size_t shown = 0;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (!cost(running_[i].leaf).on_core) continue;
    shown = i;
    break;
  }
  // A transfer that nothing hides is exposed, however fast it goes.
  const std::int32_t leaf = running_[shown].leaf;
  const double speed = cost(leaf).on_core ? speeds_[shown] : 1;
  const Picoseconds alone(std::llround(static_cast<double>(step) * speed));
  LeafTime& time = times_[static_cast<std::size_t>(leaf)];
  time.alone += alone;
  time.contended += Picoseconds(step) - alone;
}

void FluidEngine::fail_stuck() const {
  std::string names;
  int shown = 0;
  for (std::size_t i = 0; i < waiting_.size() && shown < 5; ++i) {
    const std::int32_t leaf = graph_->activities[i].leaf;
    if (leaf == ActivityGraph::join || waiting_[i] == 0) continue;
    const Leaf& waiting = *graph_->leaves[static_cast<std::size_t>(leaf)];
    names += fmt::format(" {} {};", waiting.layer_kind.text(), waiting.name.text());
    ++shown;
  }
  throw Error(ErrorKind::internal,
              fmt::format("no operation can run at {} ps; waiting:{}", now_, names));
}

}  // namespace meshsim
