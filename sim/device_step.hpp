// A step of many devices, each at its own speed.
//
// All run one program (sim/event_engine.hpp); what follows the routing of tokens costs every class
// of devices what its own rows cost (sim/device_loads.hpp), and they meet in collectives. t_d, the
// time on device d:
//
//   work        t_d <- t_d + its price on d
//   collective  t_d <- max over those that it joins of t, + its price
//   Parallel    every device runs it from its own t_d; a transfer starts when the last that it
//               joins is ready for it (sim/meeting_engine.hpp)
//
//   step = max over d of t_d
//
// So between two meetings the slowest device counts, whatever made it slow, and nothing waits for
// who is not met: without a meeting in between, different stragglers of two exchanges cost the
// larger of two sums, not the sum of two maxima.
//
// Devices that would do the same are run once: those that enter a Parallel at one time, at equal
// costs, and meet such as enter alike. The cost of a step is that of the devices that differ.
#pragma once

#include <cstdint>
#include <vector>

#include "program/step_program.hpp"
#include "sim/device_grid.hpp"
#include "sim/device_loads.hpp"
#include "units/quantity.hpp"

namespace meshsim {

struct DeviceStep {
  struct Device {
    Picoseconds end;
    Picoseconds experts;     // operations that follow the routing, as long as they take alone
    Picoseconds waited;      // for others, until a transfer could start
    ResourceTimes routed{};  // what operations that follow the routing take of each resource
  };
  Picoseconds total;
  ResourceTimes common{};       // what all other operations take, alike on all devices
  std::vector<Device> classes;  // as the grid numbers them
  std::int64_t events = 0;      // that were simulated: of one device at one time
};

// Throws as simulate_events().
DeviceStep simulate_devices(const StepProgram& program, const Machine& machine,
                            const DeviceGrid& grid, DeviceLoads& loads);

}  // namespace meshsim
