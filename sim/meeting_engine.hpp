// One part of a step, on several devices at once that meet in collectives.
//
// Every device runs the same activities (sim/activity_graph.hpp) as a fluid of its own
// (sim/fluid.hpp), from a start of its own and at costs of its own. A collective starts when the
// last of those that it joins is ready for it; then each runs its share, and ends when its own HBM,
// links and TensorCore allow. Devices that are alone run as FluidEngine runs them.
//
// Devices that do not meet, not even through others, have nothing to do with each other: they are
// run one circle after the other, so that an event costs the same however many circles there are.
// Events of a circle are taken in the order of (time, device). The cost is that of the events: no
// device is looked at between its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/agenda.hpp"
#include "sim/fluid.hpp"

namespace meshsim {

class MeetingEngine {
 public:
  // A leaf: what it costs each device; and the meeting that each of them joins for it, empty if it
  // is alone. Meetings of several leaves may be the same span.
  struct Leaf {
    std::span<const FluidLeaf> costs;
    std::span<const std::uint32_t> cost_of;  // of each device, which of `costs`; empty: the first
    std::span<const std::uint32_t> meetings;
    const FluidLeaf& cost(std::size_t device) const {
      return costs[cost_of.empty() ? 0 : cost_of[device]];
    }
  };

  // Runs `graph` on as many devices as there are `starts`, in picoseconds. ends() and waited() are
  // then those of this run. Throws Error(internal) when nothing can run although work is left.
  void run(const ActivityGraph& graph, std::span<const Leaf> leaves,
           std::span<const std::int64_t> starts);

  std::span<const std::int64_t> ends() const { return ends_; }
  // Summed over the transfers of a device: from being ready for one until the last one was.
  std::span<const std::int64_t> waited() const { return waited_; }
  std::int64_t events() const { return events_; }  // of all runs: of one device at one time

 private:
  struct Running {
    ActivityId id;
    const FluidLeaf* cost;
    double left, speed;
  };
  // Of the circle at hand. What is said of a device elsewhere, `one` being its number in the
  // circle, stands there in the same order.
  struct Device {
    std::uint32_t number = 0;  // among all
    std::int64_t now = 0;
    std::vector<Running> running;
    bool begun = false;
    bool changed = false;  // since its speeds were found
  };
  // The devices of every meeting, one meeting after the other; of leaves with the same meetings.
  struct Members {
    const std::uint32_t* meetings = nullptr;
    std::vector<std::uint32_t> devices;
    std::vector<std::size_t> first;  // of each meeting, and the end
  };

  void find_members();
  void find_circles(std::size_t devices);
  std::uint32_t root(std::uint32_t device);
  void run_circle(std::span<const std::uint32_t> circle, std::span<const std::int64_t> starts);
  void ready(std::uint32_t one, ActivityId id, std::int64_t now);
  void arrive(std::uint32_t one, ActivityId id, std::int64_t now);
  void start(std::uint32_t one, ActivityId id, std::int64_t now);
  void finish(std::uint32_t one, ActivityId id, std::int64_t now);
  void advance(std::uint32_t one, std::int64_t now);
  void settle(std::int64_t now);
  void find_speeds(std::uint32_t one);

  const ActivityGraph* graph_ = nullptr;
  std::span<const Leaf> leaves_;
  std::size_t activities_ = 0;
  std::vector<const Leaf*> own_;  // those that cost every device something else
  std::vector<Members> members_;
  std::size_t kinds_ = 0;                 // of meetings: the first so many of `members_`
  std::vector<std::size_t> kind_;         // per leaf that meets
  std::vector<std::size_t> first_count_;  // of an activity, in missing_
  std::vector<std::uint32_t> missing_;    // of (activity, meeting): who has not arrived
  std::vector<std::uint32_t> parents_;    // of devices, towards the first of their circle
  std::vector<std::uint32_t> place_;      // of devices, in their circle
  std::vector<std::uint32_t> circles_;    // one after the other
  std::vector<std::size_t> first_of_;     // of each circle, and the end

  std::vector<Device> devices_;
  std::vector<std::int32_t> waiting_;  // predecessors that have not ended, of (device, activity)
  std::vector<std::int64_t> arrival_;  // of (device, activity): when it was ready to meet
  std::size_t left_ = 0;               // activities that have not ended
  Agenda agenda_;
  struct Ready {
    std::uint32_t one;
    ActivityId id;
  };
  std::vector<Ready> ready_;  // at this time, in order
  std::vector<std::uint32_t> changed_;
  std::vector<std::int64_t> ends_, waited_;
  std::int64_t events_ = 0;
  MaxMin sharing_;
  std::vector<const double*> uses_;
  std::vector<double> speeds_;
};

}  // namespace meshsim
