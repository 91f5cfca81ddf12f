#include "topologies/slice.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "topologies/slice_table.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

std::vector<std::int64_t> fitted_to_rank(const Chip& chip, std::span<const std::int64_t> shape) {
  const auto rank = static_cast<std::size_t>(chip.torus_rank.value);
  std::vector<std::int64_t> fitted(shape.begin(), shape.end());
  while (fitted.size() > rank && fitted.back() == 1) fitted.pop_back();
  if (fitted.empty() || fitted.size() > rank) {
    throw Error(
        ErrorKind::invalid_input,
        fmt::format("{} is not a shape of {} chips: want 1 to {} sizes (got {})",
                    shape.empty() ? "[]" : shape_text(shape), chip.name, rank, shape.size()));
  }
  fitted.resize(rank, 1);
  return fitted;
}

void check_sizes(std::span<const std::int64_t> shape) {
  std::int64_t chips = 1;
  for (const std::int64_t size : shape) {
    if (size < 1) {
      throw Error(ErrorKind::invalid_input,
                  fmt::format("the slice shape {} has a size of {}", shape_text(shape), size),
                  "every size must be at least 1");
    }
    if (size > max_chips / chips) {
      throw Error(ErrorKind::invalid_input,
                  fmt::format("a slice of {} has more than {} chips", shape_text(shape), max_chips),
                  "the largest v5p pod is 16x20x28 = 8960 chips");
    }
    chips *= size;
  }
}

}  // namespace

std::int64_t Slice::chips() const { return checked_product(shape, "chips of a slice"); }

std::int64_t Slice::devices() const { return chips() * chip->devices_per_chip.value; }

std::int64_t Slice::tensor_cores() const { return chips() * chip->tensor_cores.value; }

std::int64_t Slice::hosts() const {
  std::int64_t hosts = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const std::int64_t held = axis < chips_per_host.size() ? chips_per_host[axis] : 1;
    hosts *= ceil_div(shape[axis], held);
  }
  return hosts;
}

Slice slice_by_name(std::string_view name) {
  const std::string canonical = canonical_slice_name(name);
  for (const Slice& slice : named_slices()) {
    if (slice.name == canonical) return slice;
  }
  const std::vector<std::string> near = nearest_slice_names(canonical);
  throw Error(ErrorKind::invalid_input,
              fmt::format("'{}' is not a slice", printable(name.substr(0, 60))),
              near.empty() ? "a slice is called like v5p-512 or v6e-256, or given by its shape"
                           : fmt::format("did you mean {}?", fmt::join(near, " or ")));
}

Slice slice_by_shape(const Chip& chip, std::span<const std::int64_t> shape) {
  check_sizes(shape);
  std::vector<std::int64_t> fitted = fitted_to_rank(chip, shape);
  for (const Slice& slice : named_slices()) {
    if (slice.chip->name == chip.name && slice.shape == fitted) return slice;
  }
  std::string name = shape_text(fitted);
  std::vector<bool> wraparound = wraparound_of(chip.wraparound.value, fitted);
  return {std::move(name), &chip, std::move(fitted), std::move(wraparound), chip.host_shape.value};
}

Topology make_topology(Slice slice, std::int64_t slices) {
  if (slices < 1 || slices > max_slices) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("the number of slices must be 1 to {} (got {})", max_slices, slices));
  }
  return {std::move(slice), slices};
}

std::vector<bool> wraparound_of(WraparoundRule rule, std::span<const std::int64_t> shape) {
  std::vector<bool> wraps;
  const bool cubes =
      std::all_of(shape.begin(), shape.end(), [](std::int64_t size) { return size % 4 == 0; });
  for (const std::int64_t size : shape) {
    wraps.push_back(rule == WraparoundRule::cube_multiples ? cubes : size == 16);
  }
  return wraps;
}

std::vector<std::int64_t> device_mesh_shape(const Slice& slice) {
  std::vector<std::int64_t> shape = slice.shape;
  if (slice.chip->devices_per_chip.value > 1) shape.push_back(slice.chip->devices_per_chip.value);
  return shape;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

std::vector<std::string> assumptions(const Topology& topology) {
  std::vector<std::string> list;
  const Chip& chip = *topology.slice.chip;
  if (chip.devices_per_chip.value > 1) {
    list.push_back(
        fmt::format("the {} devices of a {} chip form a last physical axis of size {} of "
                    "the device mesh",
                    chip.devices_per_chip.value, chip.name, chip.devices_per_chip.value));
  }
  return list;
}

std::vector<std::string> not_modelled(const Topology& topology) {
  if (topology.slice.chip->wraparound.value != WraparoundRule::cube_multiples) return {};
  return {
      "twisted tori: slices of n x n x 2n and n x 2n x 2n chips may be wired with a twist; every "
      "slice is taken as the untwisted torus of its shape"};
}

}  // namespace meshsim
