// How a plan's step differs from device to device, where tokens are routed unevenly.
//
//   ranks   the ranks of one expert-parallel group; all groups route alike, as the step's own
//           prices take them to
//   all     every group draws tokens of its own: all devices but those that share their tokens
//
// The step of these devices (sim/device_step.hpp) is not the sum that the timeline of the step is.
// That one takes the slowest rank of every exchange, whether it is met before the next one or not;
// here a device is late by what it and those that it met needed. Under `all` an exchange is
// as long as in the slowest of many groups.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/device_grid.hpp"
#include "sim/device_step.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

enum class DeviceDetail { ranks, all };

struct DeviceClasses {
  DeviceDetail detail = DeviceDetail::ranks;
  DeviceGrid grid;
  std::int64_t devices_each = 1;  // of the plan, in one class
  DeviceStep step;
  // The mesh axes whose collectives cross each resource that is a link; empty: none.
  std::array<std::vector<std::string>, resource_count> crossed_by;

  // "fsdp=1, expert=3"
  std::string place(std::size_t device_class) const;
  // How long a class needs a resource. Of links: the busiest one that its collectives cross.
  Picoseconds busy(std::size_t device_class, Resource resource) const;
};

// Nothing where no operation follows the routing, or in a pipeline, whose stages are not told
// apart.
std::optional<DeviceClasses> device_classes(const Plan& plan, const Step& step,
                                            DeviceDetail detail);

}  // namespace meshsim
