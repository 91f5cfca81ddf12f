// The devices of a step that may run at different speeds, and who meets whom.
//
// Devices are told apart by their coordinates on some mesh axes; those that differ on other axes
// alone do the same at the same time and are one class. A collective over the axes A joins the
// devices that differ on A alone. A class number counts row-major, the last axis fastest.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace meshsim {

class DeviceGrid {
 public:
  struct Axis {
    std::string name;
    std::int64_t size = 1;
  };
  explicit DeviceGrid(std::vector<Axis> axes);

  std::size_t classes() const { return classes_; }
  const std::vector<Axis>& axes() const { return axes_; }
  std::int64_t coordinate(std::size_t device_class, std::size_t axis) const;

  // Of a collective over `mesh_axes`: the number of its meeting, for each class. Empty: every class
  // is alone with devices like itself.
  struct Meetings {
    std::size_t count = 0;
    std::vector<std::uint32_t> of;
    // Who joins them, meeting after meeting; of meeting m from first[m] up to first[m + 1].
    std::vector<std::uint32_t> classes;
    std::vector<std::size_t> first;
  };
  const Meetings& meetings(const std::vector<std::string>& mesh_axes) const;

 private:
  std::vector<Axis> axes_;
  std::size_t classes_ = 1;
  mutable std::map<std::vector<bool>, Meetings> known_;  // by which of the axes are joined
};

}  // namespace meshsim
