#include "sim/event_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>
#include <utility>

#include "sim/max_min.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

using ActivityId = std::size_t;

struct Activity {
  const Leaf* leaf = nullptr;  // nullptr: a join, which takes no time
  std::vector<ActivityId> successors;
  std::size_t waiting_for = 0;
};

// The tree as activities with edges.
class Unrolling {
 public:
  explicit Unrolling(std::int64_t cap) : cap_(cap) {}

  std::vector<Activity> run(const ProgramNode& root) {
    unroll(root, {});
    return std::move(activities_);
  }

 private:
  using Ends = std::vector<ActivityId>;

  ActivityId add(const Leaf* leaf, const Ends& after) {
    if (static_cast<std::int64_t>(activities_.size()) >= cap_) {
      throw Error(ErrorKind::resource_limit,
                  fmt::format("the step has more than {} operations", cap_),
                  "simulate with --fidelity closed-form, or fewer layers or accumulation steps");
    }
    const ActivityId id = activities_.size();
    activities_.push_back({leaf, {}, after.size()});
    for (const ActivityId before : after) activities_[before].successors.push_back(id);
    if (leaf != nullptr && leaf->mark != 0) marked_.push_back(id);
    if (leaf != nullptr && !leaf->after.empty()) waiting_.push_back(id);
    return id;
  }

  // Edges between the branches of a Parallel, whose marked and waiting activities are those from
  // `first_marked` and `first_waiting` on.
  void link(std::size_t first_marked, std::size_t first_waiting) {
    std::map<Mark, ActivityId> places;
    for (std::size_t i = first_marked; i < marked_.size(); ++i)
      places[activities_[marked_[i]].leaf->mark] = marked_[i];
    for (std::size_t i = first_waiting; i < waiting_.size(); ++i) {
      for (const Mark mark : activities_[waiting_[i]].leaf->after) {
        const auto found = places.find(mark);
        if (found == places.end()) continue;
        activities_[found->second].successors.push_back(waiting_[i]);
        ++activities_[waiting_[i]].waiting_for;
      }
    }
    marked_.resize(first_marked);
    waiting_.resize(first_waiting);
  }

  Ends unroll(const ProgramNode& node, Ends after) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: return {add(&node.leaf, after)};
      case ProgramNode::Kind::sequence:
        for (const ProgramNode& child : node.children) after = unroll(child, std::move(after));
        return after;
      case ProgramNode::Kind::repeat:
        for (std::int64_t i = 0; i < node.times; ++i)
          after = unroll(node.children.front(), std::move(after));
        return after;
      case ProgramNode::Kind::parallel: {
        Ends ends;
        const std::size_t first_marked = marked_.size();
        const std::size_t first_waiting = waiting_.size();
        for (const ProgramNode& child : node.children) {
          for (const ActivityId end : unroll(child, after)) ends.push_back(end);
        }
        link(first_marked, first_waiting);
        std::sort(ends.begin(), ends.end());
        ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
        return {add(nullptr, ends)};
      }
    }
    return after;
  }

  std::int64_t cap_;
  std::vector<Activity> activities_;
  std::vector<ActivityId> marked_, waiting_;  // of the Parallels that are not complete yet
};

struct Running {
  ActivityId id;
  double left;  // picoseconds of work at full speed
  double speed = 1;
  std::int64_t start;
};

class EventEngine {
 public:
  EventEngine(std::vector<Activity> activities, const Machine& machine)
      : activities_(std::move(activities)), machine_(machine) {}

  Timeline run() {
    for (ActivityId id = 0; id < activities_.size(); ++id) {
      if (activities_[id].waiting_for == 0) ready_.push(id);
    }
    start_ready();
    while (!running_.empty()) advance();
    if (finished_ != activities_.size()) fail_stuck();
    timeline_.total = Picoseconds(now_);
    timeline_.parts = parts_.take();
    return std::move(timeline_);
  }

 private:
  const Price& price_of(const Leaf& leaf) {
    const auto [at, fresh] = prices_.try_emplace(&leaf);
    if (fresh) at->second = price(leaf, machine_);
    return at->second;
  }

  void start(ActivityId id) {
    const Leaf* leaf = activities_[id].leaf;
    if (leaf == nullptr || price_of(*leaf).duration.value() == 0) {
      if (leaf != nullptr)
        timeline_.intervals.push_back({leaf, Picoseconds(now_), Picoseconds(now_)});
      finish(id);
      return;
    }
    running_.push_back({id, static_cast<double>(price_of(*leaf).duration.value()), 1.0, now_});
    dirty_ = true;
  }

  void finish(ActivityId id) {
    ++finished_;
    for (const ActivityId next : activities_[id].successors) {
      if (--activities_[next].waiting_for == 0) ready_.push(next);
    }
  }

  // Also what becomes ready on the way: work that takes no time ends where it starts.
  void start_ready() {
    for (; !ready_.empty(); ready_.pop()) start(ready_.front());
  }

  void solve() {
    std::vector<std::vector<double>> uses;
    for (const Running& running : running_) {
      const Price& cost = price_of(*activities_[running.id].leaf);
      std::vector<double> use(resource_count);
      for (std::size_t r = 0; r < resource_count; ++r) use[r] = cost.use(r);
      uses.push_back(std::move(use));
    }
    const std::vector<double> speeds = max_min_speeds(uses);
    for (std::size_t i = 0; i < running_.size(); ++i) running_[i].speed = speeds[i];
    dirty_ = false;
  }

  // To the next end of an activity; all that end there end in the order in which they started.
  void advance() {
    if (dirty_) solve();
    double soonest = -1;
    for (const Running& running : running_) {
      if (running.speed <= 0) continue;
      const double wait = running.left / running.speed;
      if (soonest < 0 || wait < soonest) soonest = wait;
    }
    if (soonest < 0) fail_stuck();
    const auto step =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(soonest - 1e-6)));
    attribute(step);
    now_ += step;
    std::vector<ActivityId> ended;
    for (Running& running : running_) {
      running.left -= running.speed * static_cast<double>(step);
      if (running.left <= 1e-3) {
        ended.push_back(running.id);
        timeline_.intervals.push_back(
            {activities_[running.id].leaf, Picoseconds(running.start), Picoseconds(now_)});
      }
    }
    std::erase_if(running_, [](const Running& running) { return running.left <= 1e-3; });
    dirty_ = true;
    for (const ActivityId id : ended) finish(id);
    start_ready();
  }

  void attribute(std::int64_t step) {
    const Running* compute = nullptr;
    const Running* collective = nullptr;
    for (const Running& running : running_) {
      const bool on_core = std::holds_alternative<Compute>(activities_[running.id].leaf->work);
      const Running*& slot = on_core ? compute : collective;
      if (slot == nullptr) slot = &running;
    }
    const Running& shown = compute != nullptr ? *compute : *collective;
    const Leaf& leaf = *activities_[shown.id].leaf;
    const std::string cause = cause_alone(leaf, price_of(leaf).bound);
    // A transfer that nothing hides is exposed, however fast it goes.
    const double speed = compute != nullptr ? shown.speed : 1;
    const Picoseconds alone(std::llround(static_cast<double>(step) * speed));
    parts_.add({leaf.layer_kind, leaf.pass, cause, alone});
    parts_.add({leaf.layer_kind, leaf.pass, "contention", Picoseconds(step) - alone});
  }

  [[noreturn]] void fail_stuck() const {
    std::string names;
    int shown = 0;
    for (const Activity& activity : activities_) {
      if (activity.leaf == nullptr || activity.waiting_for == 0 || shown++ == 5) continue;
      names += fmt::format(" {} {};", activity.leaf->layer_kind, activity.leaf->name);
    }
    throw Error(ErrorKind::internal,
                fmt::format("no operation can run at {} ps; waiting:{}", now_, names));
  }

  std::vector<Activity> activities_;
  const Machine& machine_;
  std::map<const Leaf*, Price> prices_;
  std::queue<ActivityId> ready_;
  std::vector<Running> running_;
  std::int64_t now_ = 0;
  std::size_t finished_ = 0;
  bool dirty_ = false;
  TimeParts parts_;
  Timeline timeline_;
};

}  // namespace

Timeline simulate_events(const ProgramNode& node, const Machine& machine, std::int64_t event_cap) {
  return EventEngine(Unrolling(event_cap).run(node), machine).run();
}

Timeline simulate_events(const StepProgram& program, const Machine& machine,
                         std::int64_t event_cap) {
  return simulate_events(program.root, machine, event_cap);
}

}  // namespace meshsim
