// Max-min fair sharing of capacities, kept up to date while activities come and go.
//
// It knows no networks. Activity i of weight phi_i > 0 runs at a rate rho_i and then takes
// a_ir rho_i of resource r, whose capacity is C_r. Its normalised rate is x_i = rho_i / phi_i.
//
//   feasible      sum_i a_ir rho_i <= C_r for every r
//   max-min fair  no x_i can be raised without lowering one that is not larger
//   certificate   a feasible solution is max-min fair iff every activity uses a full resource on
//                 which no other activity has a larger x
//
// The solution in terms of resources: every resource has a level l_r, infinite unless it is full,
// and x_i = min over the resources of i of l_r. The resource that attains it is the bottleneck of
// i; G_r is the group of activities that r is the bottleneck of. With
//
//   N_rq = sum over i in G_q that use r of a_ir phi_i
//
// the levels solve  N_rr l_r = C_r - sum_{q != r} N_rq l_q,  where N_rq > 0 only if l_q <= l_r: in
// ascending order of the levels the system is triangular, whatever the number of activities. A
// change therefore costs one sweep over the resources that stand above the lowest one touched, in
// the connected component of that resource alone; groups are mended where l_q > l_r shows up.
//
// Levels that differ by less than `precision` (relative) count as equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace meshsim {

using ResourceId = std::int32_t;
using ActivityId = std::int32_t;

struct Demand {
  ResourceId resource = 0;
  double amount = 1;  // a_ir, of a resource that the activity names once
};

class MaxMinSystem {
 public:
  static constexpr double precision = 1e-12;
  static constexpr double unbounded = std::numeric_limits<double>::infinity();
  static constexpr ResourceId none = -1;

  // Throws Error(invalid_input) unless every capacity is finite and > 0.
  explicit MaxMinSystem(std::vector<double> capacities);

  // Adds an activity, which takes part from the next solve() on. Throws Error(invalid_input) unless
  // it has a demand, all amounts and the weight are finite and > 0, and the resources exist and
  // differ.
  ActivityId add(std::span<const Demand> demands, double weight = 1);
  // Ends an activity that was added and not yet removed.
  void remove(ActivityId activity);
  // Brings levels and bottlenecks up to date. Cost: the touched components only.
  void solve();

  // As of the last solve().
  double level(ResourceId resource) const { return level_[index(resource)]; }
  ResourceId bottleneck(ActivityId activity) const { return bottleneck_[index(activity)]; }
  double normalised_rate(ActivityId activity) const { return level(bottleneck(activity)); }
  double rate(ActivityId activity) const;

  // What the last solve() touched: every resource whose level it computed, component by component
  // (those that nobody uses any more belong to none), and every activity whose
  // bottleneck it changed, with the one before (`none` for an activity that is new).
  struct Move {
    ActivityId activity = 0;
    ResourceId from = none;
  };
  std::span<const ResourceId> solved() const { return solved_; }
  std::span<const Move> moves() const { return moves_; }

  std::size_t resources() const { return capacity_.size(); }
  std::int64_t active() const { return active_; }
  // The connected component of a resource; resources of one component share a number.
  std::int32_t component(ResourceId resource) const { return component_[index(resource)]; }

  // Whether the certificate holds within a relative `tolerance`; O(all demands), for tests and
  // debug builds.
  bool certified(double tolerance = 1e-9) const;

 private:
  struct Use {
    ResourceId resource;
    double amount;  // a_ir phi_i
  };
  struct Share {  // N_rq
    ResourceId of;
    std::int32_t count;
    double amount;
  };
  struct Component {
    std::vector<ResourceId> order;          // by level, full resources first
    std::vector<ResourceId> early_readers;  // they depend on an equal level further up
    std::int64_t activities = 0;
    std::int64_t activities_when_built = 0;
    bool touched = false;
  };

  template <class Id>
  static std::size_t index(Id id) {
    return static_cast<std::size_t>(id);
  }
  std::span<const Use> uses(ActivityId activity) const;
  bool is_active(ActivityId activity) const { return weight_[index(activity)] > 0; }

  // max_min_system.cpp: groups
  void begin_changes();
  void touch(ResourceId resource);
  void merge(std::span<const Demand> demands);
  void join(ActivityId activity, ResourceId group);
  void leave(ActivityId activity);
  void move(ActivityId activity, ResourceId to);
  void add_share(ResourceId row, ResourceId of, double amount);
  void drop_share(ResourceId row, ResourceId of, double amount);
  void forget_ended(ResourceId resource);

  // max_min_fill.cpp: from scratch
  void split(std::int32_t component);
  void fill(std::int32_t component);
  void fix_all(ResourceId full, double level);

  // max_min_sweep.cpp: from the last solution
  bool sweep(Component& component);
  bool settle(Component& component, std::size_t& position);
  bool settle_slowly(Component& component, std::size_t& position);
  double water_level(ResourceId resource);
  void restart(Component& component, std::size_t from, std::size_t to);
  std::size_t pull(ResourceId to);
  bool early_read_failed(ResourceId resource, std::size_t& reader) const;

  std::vector<double> capacity_, level_, own_amount_;
  std::vector<std::int32_t> own_count_, component_, position_;
  std::vector<std::vector<Share>> row_;              // N_rq for q != r
  std::vector<std::vector<ActivityId>> activities_;  // of a resource, ended ones among them
  std::vector<std::int32_t> ended_;                  // how many of those have ended
  std::vector<bool> touched_;                        // since the last solve

  std::vector<std::size_t> first_use_;  // of an activity, in uses_
  std::vector<Use> uses_;
  std::vector<double> weight_;  // 0: ended
  std::vector<ResourceId> bottleneck_;
  std::vector<bool> moved_;

  std::vector<Component> components_;
  std::vector<std::int32_t> touched_components_, free_components_;
  std::int64_t active_ = 0;

  // Scratch of one solve.
  std::vector<double> before_;  // the level of a resource that the sweep has not reached yet
  std::vector<std::uint8_t> read_early_;  // by a resource that stands before it in this sweep
  std::vector<double> left_, open_amount_;
  std::vector<std::int32_t> open_count_;
  std::vector<ResourceId> pulled_;
  struct Candidate {
    double level;
    double amount;
    ResourceId of;
  };
  std::vector<Candidate> candidates_;
  struct EarlyRead {
    ResourceId of, by;
    double value;
  };
  std::vector<EarlyRead> early_reads_;
  std::vector<ResourceId> solved_;
  std::vector<Move> moves_;
  bool current_ = false;  // nothing was added or removed since the last solve
};

}  // namespace meshsim
