// A TPU chip: what one chip can do and where each figure comes from.
//
// Figures are per chip and are peaks as published; a figure that no source states is absent, never
// guessed. Rates are B/s and FLOP/s (1 MAC = 2 FLOP); an ICI or PCIe bandwidth counts one direction
// unless its name says otherwise. A JAX device is a whole chip with megacore, half a chip on tpu7x:
//
//   per device = per chip / devices_per_chip
//   peak bf16  = MXUs x mxu_size^2 x 2 x clock
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "units/quantity.hpp"

namespace meshsim {

// A constant with its source, and what else is known about it.
template <class T>
struct Sourced {
  T value{};
  std::string source;
  std::string note;  // may be empty
};

// Which axes of a slice close to rings.
enum class WraparoundRule {
  cube_multiples,  // all axes, if every dimension is a multiple of 4; else none
  axes_of_16,      // each axis of exactly 16
};

struct Chip {
  std::string name;
  std::vector<std::string> aliases;
  std::string as_of;  // the month in which the sources were read: "2026-08"

  Sourced<std::int64_t> torus_rank;
  Sourced<WraparoundRule> wraparound;
  Sourced<std::vector<std::int64_t>> host_shape;  // chips of one host; their product is its chips
  Sourced<std::int64_t> devices_per_chip;
  Sourced<std::int64_t> tensor_cores;
  Sourced<std::int64_t> mxus_per_core;
  Sourced<std::int64_t> mxu_size;  // a square of mxu_size x mxu_size multipliers
  std::optional<Sourced<std::int64_t>> sparse_cores;
  std::optional<Sourced<double>> clock_hz;
  Sourced<FlopsPerSecond> peak_bf16;
  std::optional<Sourced<FlopsPerSecond>> peak_int8;
  std::optional<Sourced<FlopsPerSecond>> peak_fp8;
  Sourced<Bytes> vmem;
  Sourced<Bytes> hbm_physical;
  std::optional<Sourced<Bytes>> hbm_usable;  // as XLA reports it
  Sourced<BytesPerSecond> hbm_bandwidth;
  std::optional<Sourced<std::int64_t>> ici_links;  // two per torus axis
  std::optional<Sourced<BytesPerSecond>> ici_link_bandwidth;
  std::optional<Sourced<BytesPerSecond>> ici_chip_bandwidth;  // all links, both ways
  Sourced<Picoseconds> ici_hop_latency;
  std::optional<Sourced<BytesPerSecond>> dcn_bandwidth;
  std::optional<Sourced<BytesPerSecond>> pcie_bandwidth;
  std::optional<Sourced<Bytes>> host_memory;  // per host
};

// Calls visit(key, constant) for every constant: the one list that reading and reporting share.
template <class AnyChip, class Visitor>
void visit_constants(AnyChip& chip, Visitor&& visit) {
  visit("torus_rank", chip.torus_rank);
  visit("wraparound", chip.wraparound);
  visit("host_shape", chip.host_shape);
  visit("devices_per_chip", chip.devices_per_chip);
  visit("tensor_cores", chip.tensor_cores);
  visit("mxus_per_core", chip.mxus_per_core);
  visit("mxu_size", chip.mxu_size);
  visit("sparse_cores", chip.sparse_cores);
  visit("clock_hz", chip.clock_hz);
  visit("peak_bf16", chip.peak_bf16);
  visit("peak_int8", chip.peak_int8);
  visit("peak_fp8", chip.peak_fp8);
  visit("vmem", chip.vmem);
  visit("hbm_physical", chip.hbm_physical);
  visit("hbm_usable", chip.hbm_usable);
  visit("hbm_bandwidth", chip.hbm_bandwidth);
  visit("ici_links", chip.ici_links);
  visit("ici_link_bandwidth", chip.ici_link_bandwidth);
  visit("ici_chip_bandwidth", chip.ici_chip_bandwidth);
  visit("ici_hop_latency", chip.ici_hop_latency);
  visit("dcn_bandwidth", chip.dcn_bandwidth);
  visit("pcie_bandwidth", chip.pcie_bandwidth);
  visit("host_memory", chip.host_memory);
}

// A chip by name or alias ("v7x" is tpu7x). Throws Error(invalid_input) with the nearest names.
const Chip& find_chip(std::string_view name);

// The names of all chips, in alphabetical order.
std::vector<std::string> chip_names();

std::string_view name(WraparoundRule rule);

std::int64_t chips_per_host(const Chip& chip);
std::optional<BytesPerSecond> dcn_bandwidth_per_host(const Chip& chip);

// The share of one JAX device in a per-chip figure; bytes are rounded down.
FlopsPerSecond per_device(const Chip& chip, FlopsPerSecond per_chip);
BytesPerSecond per_device(const Chip& chip, BytesPerSecond per_chip);
Bytes per_device(const Chip& chip, Bytes per_chip);
std::int64_t tensor_cores_per_device(const Chip& chip);

// One chip from the text of its file. Throws Error(invalid_input) that names every fault.
Chip parse_chip(const std::string& file, std::string_view text);

}  // namespace meshsim
