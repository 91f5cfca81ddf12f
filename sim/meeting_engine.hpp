// One part of a step, on several devices at once that meet in collectives.
//
// Every device runs the same activities (sim/activity_graph.hpp) as a fluid of its own
// (sim/fluid.hpp), from a start of its own and at costs of its own. A collective starts when the
// last of those that it joins is ready for it; then each runs its share, and ends when its own HBM,
// links and TensorCore allow. Devices that are alone run as FluidEngine runs them.
//
// Events of all devices are taken in the order of (time, device). The cost is that of the events:
// no device is looked at between its own.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sim/fluid.hpp"

namespace meshsim {

class MeetingEngine {
 public:
  // A leaf: what it costs each device, or all of them; and the meeting that each of them joins for
  // it, empty if it is alone.
  struct Leaf {
    std::span<const FluidLeaf> costs;  // one, or one per device
    std::span<const std::uint32_t> meetings;
    const FluidLeaf& cost(std::size_t device) const {
      return costs[costs.size() == 1 ? 0 : device];
    }
  };

  // Runs `graph` on as many devices as there are `starts`, in picoseconds. ends() and waited() are
  // then those of this run. Throws Error(internal) when nothing can run although work is left.
  void run(const ActivityGraph& graph, std::span<const Leaf> leaves,
           std::span<const std::int64_t> starts);

  std::span<const std::int64_t> ends() const { return ends_; }
  // Summed over the transfers of a device: from being ready for one until the last one was.
  std::span<const std::int64_t> waited() const { return waited_; }

 private:
  struct Running {
    ActivityId id;
    const FluidLeaf* cost;
    double left, speed;
  };
  struct Device {
    std::int64_t now = 0;
    std::vector<Running> running;
    bool changed = false;  // since its speeds were found
  };
  // The next event of every device, and the soonest of them: of equal times that of the first
  // device.
  class Agenda {
   public:
    static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
    void reset(std::span<const std::int64_t> times);
    void set(std::uint32_t device, std::int64_t time);
    std::int64_t time(std::uint32_t device) const { return times_[device]; }
    std::uint32_t soonest() const { return first_[1]; }

   private:
    std::uint32_t sooner(std::size_t a, std::size_t b) const {
      return times_[first_[b]] < times_[first_[a]] ? first_[b] : first_[a];
    }
    std::size_t leaves_ = 1;            // a power of two
    std::vector<std::int64_t> times_;   // per leaf
    std::vector<std::uint32_t> first_;  // of each node of a binary tree; its root is 1
  };

  // Of a leaf: the devices of every meeting, one meeting after the other.
  struct Members {
    std::vector<std::uint32_t> devices;
    std::vector<std::size_t> first;  // of each meeting, and the end
  };

  void find_members();
  void ready(std::uint32_t device, ActivityId id, std::int64_t now);
  void arrive(std::uint32_t device, ActivityId id, std::int64_t now);
  void start(std::uint32_t device, ActivityId id, std::int64_t now);
  void finish(std::uint32_t device, ActivityId id, std::int64_t now);
  void advance(std::uint32_t device, std::int64_t now);
  void settle(std::int64_t now);

  const ActivityGraph* graph_ = nullptr;
  std::span<const Leaf> leaves_;
  std::size_t activities_ = 0;
  std::vector<std::int32_t> waiting_;  // predecessors that have not ended, of (device, activity)
  std::size_t left_ = 0;               // activities that have not ended
  std::vector<Device> devices_;
  Agenda agenda_;
  std::vector<Members> members_;          // per leaf
  std::vector<std::size_t> first_count_;  // of an activity, in missing_
  std::vector<std::uint32_t> missing_;    // of (activity, meeting): who has not arrived
  std::vector<std::int64_t> arrival_;     // of (device, activity): when it was ready to meet
  struct Ready {
    std::uint32_t device;
    ActivityId id;
  };
  std::vector<Ready> ready_;  // at this time, in order
  std::vector<std::uint32_t> changed_;
  std::vector<std::int64_t> ends_, waited_;
  MaxMin sharing_;
  std::vector<const double*> uses_;
  std::vector<double> speeds_;
};

}  // namespace meshsim
