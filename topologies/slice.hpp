// A slice: a box of chips that ICI joins, and a topology: slices that the data-centre network
// joins.
//
// shape[i] is the number of chips along physical axis i; wraparound[i] says whether that axis
// closes to a ring. A named slice ("v5p-512": N counts TensorCores on v4 and v5p, devices on the
// others) is as MaxText's accelerator table has it; any other shape follows its chip's wraparound
// rule.
//
//   chips = prod shape     devices = chips x devices per chip     hosts = prod ceil(shape_i /
//   host_i)
//
// Assumptions: the two JAX devices of a tpu7x chip form a last physical axis of size 2 of the
// device mesh. Twisted tori (n x n x 2n and n x 2n x 2n slices may be wired so) are not modelled.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "topologies/chip.hpp"

namespace meshsim {

// More than a hundred times the largest pod: beyond it, a shape is taken for a slip.
inline constexpr std::int64_t max_chips = std::int64_t{1} << 20;
inline constexpr std::int64_t max_slices = 4096;

struct Slice {
  std::string name;  // "v5p-512", or the shape of a slice without a name: "4x4x20"
  const Chip* chip = nullptr;
  std::vector<std::int64_t> shape;           // torus_rank sizes
  std::vector<bool> wraparound;              // the same length
  std::vector<std::int64_t> chips_per_host;  // the box of chips that one host holds

  std::int64_t chips() const;
  std::int64_t devices() const;
  std::int64_t tensor_cores() const;
  std::int64_t hosts() const;
};

struct Topology {
  Slice slice;
  std::int64_t slices = 1;

  std::int64_t chips() const { return slice.chips() * slices; }
  std::int64_t devices() const { return slice.devices() * slices; }
  std::int64_t tensor_cores() const { return slice.tensor_cores() * slices; }
  std::int64_t hosts() const { return slice.hosts() * slices; }
};

// Every named slice, in the order of the table.
std::span<const Slice> named_slices();

// Throws Error(invalid_input) with the two nearest legal names: nearest by number within the
// family, for a shape those that hold as many chips, else by spelling.
Slice slice_by_name(std::string_view name);

// Any shape of 1 to torus_rank positive sizes (missing ones are 1; 1s beyond the rank are dropped)
// and at most max_chips chips. Throws Error(invalid_input) otherwise.
Slice slice_by_shape(const Chip& chip, std::span<const std::int64_t> shape);

// Throws Error(invalid_input) unless 1 <= slices <= max_slices.
Topology make_topology(Slice slice, std::int64_t slices);

// The chip's rule, for a slice of this shape.
std::vector<bool> wraparound_of(WraparoundRule rule, std::span<const std::int64_t> shape);

// The shape of the mesh of JAX devices: that of the chips, and an axis of devices_per_chip if > 1.
std::vector<std::int64_t> device_mesh_shape(const Slice& slice);

// "4x8x8"
std::string shape_text(std::span<const std::int64_t> shape);

// What reports on this topology must say.
std::vector<std::string> assumptions(const Topology& topology);
std::vector<std::string> not_modelled(const Topology& topology);

}  // namespace meshsim
