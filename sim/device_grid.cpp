#include "sim/device_grid.hpp"

#include <algorithm>
#include <utility>

namespace meshsim {

DeviceGrid::DeviceGrid(std::vector<Axis> axes) : axes_(std::move(axes)) {
  for (const Axis& axis : axes_) classes_ *= static_cast<std::size_t>(axis.size);
}

std::int64_t DeviceGrid::coordinate(std::size_t device_class, std::size_t axis) const {
  auto rest = static_cast<std::int64_t>(device_class);
  for (std::size_t i = axes_.size(); --i > axis;) rest /= axes_[i].size;
  return rest % axes_[axis].size;
}

const DeviceGrid::Meetings& DeviceGrid::meetings(const std::vector<std::string>& mesh_axes) const {
  std::vector<bool> joined;
  bool any = false;
  for (const Axis& axis : axes_) {
    joined.push_back(axis.size > 1 &&
                     std::find(mesh_axes.begin(), mesh_axes.end(), axis.name) != mesh_axes.end());
    any = any || joined.back();
  }
  const auto [known, is_new] = known_.try_emplace(joined);
  Meetings& meetings = known->second;
  if (!is_new || !any) return meetings;
  meetings.count = 1;
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    if (!joined[i]) meetings.count *= static_cast<std::size_t>(axes_[i].size);
  }
  for (std::size_t one = 0; one < classes_; ++one) {
    std::int64_t number = 0;
    for (std::size_t i = 0; i < axes_.size(); ++i) {
      if (!joined[i]) number = number * axes_[i].size + coordinate(one, i);
    }
    meetings.of.push_back(static_cast<std::uint32_t>(number));
  }
  std::vector<std::vector<std::uint32_t>> members(meetings.count);
  for (std::size_t one = 0; one < classes_; ++one)
    members[meetings.of[one]].push_back(static_cast<std::uint32_t>(one));
  for (const auto& each : members) {
    meetings.first.push_back(meetings.classes.size());
    meetings.classes.insert(meetings.classes.end(), each.begin(), each.end());
  }
  meetings.first.push_back(meetings.classes.size());
  return meetings;
}

}  // namespace meshsim
