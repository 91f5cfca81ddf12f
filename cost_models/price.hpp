// What an operation costs: how long it takes alone, and which share of each resource it then uses.
//
// A price is a breakdown. duration = max over resources of the time that the work needs of each,
// plus latency; use[r] = time of resource r / duration. Operations that run together slow each
// other where their uses of a resource sum to more than 1.
#pragma once

#include <array>
#include <string_view>

#include "cost_models/machine.hpp"
#include "program/step_program.hpp"

namespace meshsim {

// The resources of a device. ICI is counted per physical torus axis: both directions of its links.
enum Resource : std::size_t {
  tensor_core,
  hbm,
  ici_0,
  ici_1,
  ici_2,
  ici_3,
  sparse_core,
  dcn,
  pcie_in,   // from the host
  pcie_out,  // to the host
  resource_count
};
std::string_view name(Resource resource);

using ResourceTimes = std::array<double, resource_count>;  // picoseconds

// What sets the duration.
enum class Bound { compute, memory, network, latency };
std::string_view name(Bound bound);

// What the TensorCore spends its time on. One thing after the other: within a block of a kernel
// each waits for the one before.
enum CoreCause : std::size_t {
  ideal,         // the FLOPs of the mathematics at the chip's peak
  inefficiency,  // the same FLOPs: what the sustained rate is below the peak
  tile_waste,    // padded tiles, masked blocks, products that a kernel computes again
  softmax,       // logits on the vector unit
  grid_steps,    // starting a block of a kernel
  row_gather,    // rows moved through an index
  scatter_add,   // rows added through an unsorted index
  key_sort,      // keys in a sorting network
  idle_cores,    // a kernel runs on one TensorCore, the others wait
  core_cause_count
};
std::string_view name(CoreCause cause);

using CoreTimes = std::array<double, core_cause_count>;  // picoseconds

struct Price {
  Picoseconds duration;
  Bound bound = Bound::latency;
  ResourceTimes times{};  // of each resource, at its full rate
  CoreTimes core{};       // sums to times[tensor_core], less what of it is imbalance
  Picoseconds latency;
  Picoseconds imbalance;  // of the duration: what balanced routing would spare

  double use(std::size_t resource) const {
    return duration.value() == 0 ? 0 : times[resource] / static_cast<double>(duration.value());
  }
};

Price price(const Compute& work, const Machine& machine);
Price price(const Collective& work, const Machine& machine);
Price price(const HostCopy& work, const Machine& machine);
Price price(const Leaf& leaf, const Machine& machine);

// The price from resource times and latency.
Price priced(const ResourceTimes& times, Picoseconds latency);

}  // namespace meshsim
