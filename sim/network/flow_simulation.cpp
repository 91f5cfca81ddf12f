#include "sim/network/flow_simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "sim/network/event_queue.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr FlowId end_of_window = -1;  // instead of a flow that starts
constexpr double ended = -1;          // as a mark
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
      : flows_(flows), options_(options), shares_(bytes_per_ps(capacity)) {
    groups_.resize(capacity.size());
    marks_.resize(capacity.size());
    mark_.assign(flows.size(), 0);
    activity_.assign(flows.size(), -1);
    busy_since_.assign(capacity.size(), 0);
    moving_over_.assign(capacity.size(), 0);
    result_.finish.resize(flows.size());
    result_.links.resize(capacity.size());
    for (FlowId flow = 0; index(flow) < flows.size(); ++flow)
      starts_.push(flows.start(flow).value(), flow);
    result_.bytes_by_collective.assign(index(flows.collectives()),
                                       std::vector<double>(capacity.size()));
    moved_.assign(options.window.value() > 0 ? capacity.size() : 0, 0);
    if (options.window.value() > 0) starts_.push(options.window.value(), end_of_window);
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
      if (next_start <= next_end) {
        if (next_start == never) fail_stuck();
        now_ = next_start;
        start_all();
      } else {
        end_all(next_start);
      }
      share_anew();
    }
    if (options_.window.value() > 0 && !flows_all_told()) close_window();
    return std::move(result_);
  }

 private:
  struct End {
    double time;
    std::int32_t component;
    std::int64_t version;
    bool operator>(const End& other) const {
      return time != other.time ? time > other.time : component > other.component;
    }
  };
  struct ComponentState {
    std::int64_t version = 0;
    double busy_since = 0;
  };

  double soonest_end() {
    while (!ends_.empty() && is_stale(ends_.top())) ends_.pop();
    return ends_.empty() ? never : ends_.top().time;
  }

  // The component has been solved again, or has become part of others.
  bool is_stale(const End& end) const {
    return components_[index(end.component)].version != end.version ||
           shares_.component(links_of_[index(end.component)].front()) != end.component;
  }

  ComponentState& state(std::int32_t component) {
    if (index(component) >= components_.size()) components_.resize(index(component) + 1);
    return components_[index(component)];
  }

  void start_all() {
    const std::int64_t time = starts_.top().time_ps;
    while (!starts_.empty() && starts_.top().time_ps == time) {
      const FlowId flow = starts_.pop().payload;
      if (flow == end_of_window) {
        close_window();
        const bool more = shares_.active() > 0 || !starts_.empty();
        if (more) starts_.push(time + options_.window.value(), end_of_window);
        continue;
      }
      const auto links = flows_.links(flow);
      if (links.empty() || flows_.bytes(flow) == 0) {
        finish(flow, now_);
        continue;
      }
      demands_.clear();
      for (const ResourceId link : links) {
        demands_.push_back({link, 1});
        LinkUse& use = result_.links[index(link)];
        use.bytes += flows_.bytes(flow);
        result_.bytes_by_collective[index(flows_.collective(flow))][index(link)] +=
            flows_.bytes(flow);
        ++use.flows;
        if (moving_over_[index(link)]++ == 0) busy_since_[index(link)] = now_;
      }
      activity_[index(flow)] = shares_.add(demands_);
      flow_of_.push_back(flow);
    }
  }

  // Ends what ends next, and with it what ends within the tolerance and before the next start.
  void end_all(double next_start) {
    const End first = ends_.top();
    ends_.pop();
    const std::vector<ResourceId>& links = links_of_[index(first.component)];
    const double since = first.time - state(first.component).busy_since;
    const double rounding = 1e-13 * first.time + 1e-6;
    const double until = std::max(
        first.time + rounding, std::min(first.time + options_.tolerance / 2 * since, next_start));
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

  // What every link has moved since the last window.
  void close_window() {
    std::vector<double> total = moved_;
    for (FlowId flow = 0; index(flow) < flows_.size(); ++flow) {
      const ActivityId activity = activity_[index(flow)];
      if (activity < 0) continue;
      const Group& group = groups_[index(shares_.bottleneck(activity))];
      const double left = mark_[index(flow)] - group.moved - group.rate * (now_ - group.as_of);
      for (const ResourceId link : flows_.links(flow))
        total[index(link)] += flows_.bytes(flow) - std::max(0.0, left);
    }
    std::vector<double> window = total;
    if (!told_.empty()) {
      for (std::size_t link = 0; link < window.size(); ++link)
        window[link] = std::max(0.0, window[link] - told_[link]);
    }
    told_ = std::move(total);
    result_.bytes_by_window.push_back(std::move(window));
  }

  // Nothing has moved since the last window was closed.
  bool flows_all_told() const { return told_ == moved_; }

  void end(FlowId flow) {
    for (const ResourceId link : flows_.links(flow)) {
      if (!moved_.empty()) moved_[index(link)] += flows_.bytes(flow);
      if (--moving_over_[index(link)] > 0) continue;
      result_.links[index(link)].busy += Picoseconds(std::llround(now_ - busy_since_[index(link)]));
    }
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
      if (soonest < never) ends_.push({soonest, component, state(component).version});
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
    ComponentState& own = state(component);
    ++own.version;
    if (index(component) >= links_of_.size()) links_of_.resize(index(component) + 1);
    if (links_of_[index(component)].empty()) own.busy_since = now_;
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
  std::vector<ComponentState> components_;
  std::vector<std::vector<ResourceId>> links_of_;  // of a component, as of its last solve
  std::vector<Group> groups_;                      // by link
  std::vector<Marks> marks_;                       // by link
  std::vector<double> mark_;                       // of a flow, in its group
  std::vector<ActivityId> activity_;               // of a flow that moves, else -1
  std::vector<FlowId> flow_of_;                    // of an activity
  std::vector<double> busy_since_;
  std::vector<std::int64_t> moving_over_;
  std::vector<double> moved_;  // by flows that have ended, over each link; only with a window
  std::vector<double> told_;   // over each link, in the windows closed so far
  std::vector<Demand> demands_;
  std::vector<std::pair<double, FlowId>> ending_;
  double now_ = 0;
  FlowSimulation result_;
};

}  // namespace

FlowId FlowSet::add(double bytes, Picoseconds start, std::span<const ResourceId> links,
                    std::int32_t collective) {
  const auto id = static_cast<FlowId>(bytes_.size());
  bytes_.push_back(bytes);
  start_.push_back(start);
  collective_.push_back(collective);
  collectives_ = std::max(collectives_, collective + 1);
  links_.insert(links_.end(), links.begin(), links.end());
  first_.push_back(links_.size());
  return id;
}

std::span<const ResourceId> FlowSet::links(FlowId flow) const {
  const std::size_t first = first_[index(flow)];
  return {links_.data() + first, first_[index(flow) + 1] - first};
}

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
