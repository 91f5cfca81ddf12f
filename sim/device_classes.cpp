#include "sim/device_classes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cost_models/machine.hpp"
#include "program/expert_loads.hpp"
#include "program/local_shapes.hpp"
#include "program/step_templates.hpp"

namespace meshsim {
namespace {

// The axes along which devices hold tokens of their own, in the order of the mesh.
std::vector<DeviceGrid::Axis> axes_of(const Plan& plan, DeviceDetail detail) {
  const ActivationAxes activations = activation_axes(plan);
  const auto splits_tokens = [&](const std::string& name) {
    return std::ranges::count(activations.batch, name) > 0 ||
           std::ranges::count(activations.length, name) > 0;
  };
  std::vector<DeviceGrid::Axis> axes;
  for (const MeshAxis& axis : plan.mesh.axes) {
    const bool own = detail == DeviceDetail::all && axis.size() > 1 && splits_tokens(axis.name);
    if (own || axis.name == "expert") axes.push_back({axis.name, axis.size()});
  }
  return axes;
}

const Exchange& exchange_of(const StepTemplates& templates) {
  const auto routed = std::ranges::find_if(
      templates.slots, [](const auto& layer) { return layer->exchange.parts > 0; });
  return (*routed)->exchange;
}

void add_crossing(const Machine& machine, DeviceClasses& devices) {
  for (const Machine::AxisParts& axis : machine.mesh_axes) {
    const auto add = [&](std::size_t resource) {
      std::vector<std::string>& names = devices.crossed_by[resource];
      if (std::ranges::count(names, axis.mesh_axis) == 0) names.push_back(axis.mesh_axis);
    };
    for (const PhysicalPart& part : axis.parts) {
      if (part.part > 1 && part.axis < machine.physical_axes) add(ici_0 + part.axis);
    }
    if (axis.slices > 1) add(dcn);
  }
}

}  // namespace

std::string DeviceClasses::place(std::size_t device_class) const {
  std::string text;
  for (std::size_t i = 0; i < grid.axes().size(); ++i) {
    text += fmt::format("{}{}={}", i == 0 ? "" : ", ", grid.axes()[i].name,
                        grid.coordinate(device_class, i));
  }
  return text;
}

Picoseconds DeviceClasses::busy(std::size_t device_class, Resource resource) const {
  return Picoseconds(
      std::llround(step.common[resource] + step.classes[device_class].routed[resource]));
}

std::optional<DeviceClasses> device_classes(const Plan& plan, const Step& step,
                                            DeviceDetail detail) {
  if (!step.program.loads || plan.mesh.size("stage") > 1) return {};
  const Machine machine = machine_of(plan);
  DeviceClasses devices{detail, DeviceGrid(axes_of(plan, detail)), 1, {}, {}};
  const DeviceGrid& grid = devices.grid;
  devices.devices_each = plan.devices() / static_cast<std::int64_t>(grid.classes());
  add_crossing(machine, devices);
  if (detail == DeviceDetail::ranks) {
    RankLoads loads(step.program.loads.get(), grid.classes(), machine);
    devices.step = simulate_devices(step.program, machine, grid, loads);
  } else {
    const std::int64_t groups =
        static_cast<std::int64_t>(grid.classes()) / plan.mesh.size("expert");
    GroupLoads loads(group_loads(plan, exchange_of(step_templates(plan)), groups), grid, machine);
    devices.step = simulate_devices(step.program, machine, grid, loads);
  }
  return devices;
}

}  // namespace meshsim
