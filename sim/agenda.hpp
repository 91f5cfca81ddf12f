// The next event of each of several devices, and the soonest of all: of equal times that of the
// first device.
//
// A tree of minima, eight to a node: a change climbs while it changes the minimum of its node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace meshsim {

class Agenda {
 public:
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

  // `devices` > 0 of them, all without an event.
  void reset(std::size_t devices);
  void set(std::uint32_t device, std::int64_t time);

  std::int64_t time() const { return times_.back(); }  // of the soonest event
  std::uint32_t soonest() const;

 private:
  static constexpr std::size_t width = 8;

  std::vector<std::int64_t> times_;  // of devices; then of nodes, level by level; the root is last
  std::vector<std::size_t> levels_;  // where each begins
};

}  // namespace meshsim
