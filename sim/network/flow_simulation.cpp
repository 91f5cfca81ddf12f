#include "sim/network/flow_simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "sim/network/event_queue.hpp"
#include "sim/network/link_ledger.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr double ended = -1;  // as a mark
constexpr double never = std::numeric_limits<double>::infinity();

std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }

std::vector<double> bytes_per_ps(std::span<const BytesPerSecond> capacity) {
  std::vector<double> all;
  all.reserve(capacity.size());
  for (const BytesPerSecond each : capacity) all.push_back(each.value() / 1e12);
  return all;
}

struct Mark {
  double at;
  FlowId flow;
  bool operator>(const Mark& other) const {
    return at != other.at ? at > other.at : flow > other.flow;
  }
};

// The flows that one link is the bottleneck of. `moved` is what each has moved since some common
// zero; a member ends when `moved` reaches its mark.
struct Group {
  double moved = 0;     // at `as_of`
  double as_of = 0;     // picoseconds
  double rate = 0;      // bytes per picosecond
  double next = never;  // the lowest mark of a member
};

// A heap, lowest first; marks of flows that have left the group are among them.
using Marks = std::vector<Mark>;

class Simulation {
 public:
  Simulation(std::span<const BytesPerSecond> capacity, const FlowSet& flows,
             const FlowOptions& options)
      : flows_(flows),
        options_(options),
        shares_(bytes_per_ps(capacity)),
        ledger_(capacity.size(), flows) {
    groups_.resize(capacity.size());
    marks_.resize(capacity.size());
    mark_.assign(flows.size(), 0);
    activity_.assign(flows.size(), -1);
    result_.finish.resize(flows.size());
    for (FlowId flow = 0; index(flow) < flows.size(); ++flow)
      starts_.push(flows.start(flow).value(), flow);
    if (options.window.value() > 0) next_window_ = static_cast<double>(options.window.value());
  }

  FlowSimulation run() {
    while (!starts_.empty() || shares_.active() > 0) {
      if (++result_.events > options_.event_cap) {
        throw Error(ErrorKind::resource_limit,
                    fmt::format("more than {} events", options_.event_cap),
                    "batch ends with a tolerance above 0");
      }
      const double next_start =
          starts_.empty() ? never : static_cast<double>(starts_.top().time_ps);
      const double next_end = soonest_end();
      if (next_start == never && next_end == never) fail_stuck();
      if (next_window_ < std::min(next_start, next_end)) {
        now_ = next_window_;
        close_window();
        next_window_ += static_cast<double>(options_.window.value());
        continue;  // rates stay as they are
      }
      if (next_start <= next_end) {
        now_ = next_start;
        start_all();
      } else {
        end_all(std::min(next_start, next_window_));
      }
      share_anew();
    }
    if (options_.window.value() > 0 && ledger_.has_open_window()) close_window();
    ledger_.settle(result_);
    return std::move(result_);
  }

 private:
  struct End {
    double time;
    std::int32_t component;
    std::int64_t version;  // of the component's solution
    bool operator>(const End& other) const {
      return time != other.time ? time > other.time : component > other.component;
    }
  };
  double soonest_end() {
    while (!ends_.empty() && is_stale(ends_.top())) ends_.pop();
    return ends_.empty() ? never : ends_.top().time;
  }

  // The component has been solved again, or has become part of others.
  bool is_stale(const End& end) const {
    return version_[index(end.component)] != end.version ||
           shares_.component(links_of_[index(end.component)].front()) != end.component;
  }

  void start_all() {
    const std::int64_t time = starts_.top().time_ps;
    if (shares_.active() == 0) busy_since_ = now_;
    while (!starts_.empty() && starts_.top().time_ps == time) {
      const FlowId flow = starts_.pop().payload;
      const auto links = flows_.links(flow);
      if (links.empty() || flows_.bytes(flow) == 0) {
        finish(flow, now_);
        continue;
      }
      demands_.clear();
      for (const ResourceId link : links) demands_.push_back({link, 1});
      ledger_.begin(flow, now_);
      activity_[index(flow)] = shares_.add(demands_);
      flow_of_.push_back(flow);
    }
  }

  // Ends what ends next, and with it what ends within the tolerance and before `limit`.
  void end_all(double limit) {
    const End first = ends_.top();
    ends_.pop();
    const std::vector<ResourceId>& links = links_of_[index(first.component)];
    const double since = first.time - busy_since_;
    const double rounding = 1e-13 * first.time + 1e-6;
    const double until = std::max(first.time + rounding,
                                  std::min(first.time + options_.tolerance / 2 * since, limit));
    now_ = first.time;
    ending_.clear();
    for (const ResourceId link : links) {
      Group& group = groups_[index(link)];
      if (group.rate <= 0) continue;
      const double moved = group.moved + group.rate * (until - group.as_of);
      while (group.next <= moved) {
        const Mark mark = marks_[index(link)].front();
        ending_.emplace_back(group.as_of + (mark.at - group.moved) / group.rate, mark.flow);
        mark_[index(mark.flow)] = ended;
        find_next(link);
      }
    }
    std::sort(ending_.begin(), ending_.end());
    for (const auto& [time, flow] : ending_) {
      now_ = std::max(now_, std::min(time, until));
      end(flow);
    }
  }

  void close_window() {
    ledger_.close_window([&](FlowId flow) {
      const Group& group = groups_[index(shares_.bottleneck(activity_[index(flow)]))];
      const double moved = group.moved + group.rate * (now_ - group.as_of);
      return std::max(0.0, mark_[index(flow)] - moved);
    });
  }

  void end(FlowId flow) {
    ledger_.end(flow, now_);
    shares_.remove(activity_[index(flow)]);
    activity_[index(flow)] = -1;
    finish(flow, now_);
  }

  void finish(FlowId flow, double time) {
    const Picoseconds rounded(static_cast<std::int64_t>(std::ceil(time - 1e-3)));
    result_.finish[index(flow)] = rounded;
    result_.makespan = std::max(result_.makespan, rounded);
  }

  void share_anew() {
    shares_.solve();
    for (const ResourceId link : shares_.solved()) advance(link);
    for (const MaxMinSystem::Move& move : shares_.moves()) {
      const FlowId flow = flow_of_[index(move.activity)];
      double left = flows_.bytes(flow);
      if (move.from != MaxMinSystem::none)
        left = std::max(0.0, mark_[index(flow)] - groups_[index(move.from)].moved);
      const ResourceId to = shares_.bottleneck(move.activity);
      mark_[index(flow)] = groups_[index(to)].moved + left;
      Marks& marks = marks_[index(to)];
      marks.push_back({mark_[index(flow)], flow});
      std::push_heap(marks.begin(), marks.end(), std::greater<>());
    }
    for (const MaxMinSystem::Move& move : shares_.moves()) {
      if (move.from != MaxMinSystem::none) find_next(move.from);
      find_next(shares_.bottleneck(move.activity));
    }
    announce_ends();
  }

  // Brings the clock of a group to the present and sets its new rate.
  void advance(ResourceId link) {
    Group& group = groups_[index(link)];
    group.moved += group.rate * (now_ - group.as_of);
    group.as_of = now_;
    const double level = shares_.level(link);
    group.rate = level == MaxMinSystem::unbounded ? 0 : level;
  }

  // The next end in each component that was solved.
  void announce_ends() {
    std::int32_t component = MaxMinSystem::none;
    double soonest = never;
    const auto announce = [&] {
      if (component == MaxMinSystem::none) return;
      if (soonest < never) ends_.push({soonest, component, version_[index(component)]});
    };
    for (const ResourceId link : shares_.solved()) {
      const std::int32_t own = shares_.component(link);
      if (own == MaxMinSystem::none) continue;
      if (own != component) {
        announce();
        component = own;
        soonest = never;
        begin(component);
      }
      links_of_[index(component)].push_back(link);
      const Group& group = groups_[index(link)];
      if (group.rate <= 0 || group.next == never) continue;
      const double end = now_ + std::max(0.0, group.next - group.moved) / group.rate;
      soonest = std::min(soonest, end);
    }
    announce();
  }

  void begin(std::int32_t component) {
    if (index(component) >= version_.size()) {
      version_.resize(index(component) + 1);
      links_of_.resize(index(component) + 1);
    }
    ++version_[index(component)];
    links_of_[index(component)].clear();
  }

  // The lowest mark of a flow that is still in the group of `link`.
  void find_next(ResourceId link) {
    Marks& marks = marks_[index(link)];
    while (!marks.empty()) {
      const Mark& mark = marks.front();
      const ActivityId activity = activity_[index(mark.flow)];
      if (mark_[index(mark.flow)] == mark.at && shares_.bottleneck(activity) == link) {
        groups_[index(link)].next = mark.at;
        return;
      }
      std::pop_heap(marks.begin(), marks.end(), std::greater<>());
      marks.pop_back();
    }
    groups_[index(link)].next = never;
    groups_[index(link)].moved = 0;  // nobody counts from here any more: keep it small
  }

  [[noreturn]] void fail_stuck() const {
    std::string names;
    int shown = 0;
    for (FlowId flow = 0; index(flow) < flows_.size() && shown < 5; ++flow) {
      if (activity_[index(flow)] < 0) continue;
      ++shown;
      names += fmt::format(" flow {} of {} bytes;", flow, flows_.bytes(flow));
    }
    throw Error(ErrorKind::internal,
                fmt::format("no flow can end after {} ps; moving:{}", now_, names));
  }

  const FlowSet& flows_;
  FlowOptions options_;
  MaxMinSystem shares_;
  EventQueue<FlowId> starts_;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  std::vector<std::int64_t> version_;              // of a component's solution
  std::vector<std::vector<ResourceId>> links_of_;  // of a component, as of its last solve
  std::vector<Group> groups_;                      // by link
  std::vector<Marks> marks_;                       // by link
  std::vector<double> mark_;                       // of a flow, in its group
  std::vector<ActivityId> activity_;               // of a flow that moves, else -1
  std::vector<FlowId> flow_of_;                    // of an activity
  std::vector<Demand> demands_;
  std::vector<std::pair<double, FlowId>> ending_;
  LinkLedger ledger_;
  double now_ = 0;
  double busy_since_ = 0;  // some flow has moved ever since
  double next_window_ = never;
  FlowSimulation result_;
};

}  // namespace

FlowSimulation simulate_flows(std::span<const BytesPerSecond> capacity, const FlowSet& flows,
                              const FlowOptions& options) {
  if (!(options.tolerance >= 0 && options.tolerance < 1)) {
    throw Error(
        ErrorKind::invalid_input,
        fmt::format("the tolerance must be at least 0 and below 1 (got {})", options.tolerance));
  }
  return Simulation(capacity, flows, options).run();
}

}  // namespace meshsim
