#include "cost_models/price.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {

std::string_view name(Resource resource) {
  constexpr std::array<std::string_view, resource_count> names{
      "tensor_core", "hbm",         "ici_0", "ici_1",   "ici_2",
      "ici_3",       "sparse_core", "dcn",   "pcie_in", "pcie_out"};
  return names.at(resource);
}

std::string_view name(Bound bound) {
  switch (bound) {
    case Bound::compute: return "compute";
    case Bound::memory: return "memory";
    case Bound::network: return "network";
    case Bound::latency: return "latency";
  }
  return "";
}

Price priced(const ResourceTimes& times, Picoseconds latency) {
  const auto slowest = std::max_element(times.begin(), times.end());
  Price price;
  price.times = times;
  price.latency = latency;
  price.duration = picoseconds_from_seconds(*slowest * 1e-12) + latency;
  const auto resource = static_cast<std::size_t>(slowest - times.begin());
  const bool waits = static_cast<double>(latency.value()) > *slowest;
  price.bound = waits                     ? Bound::latency
                : resource == tensor_core ? Bound::compute
                : resource == hbm         ? Bound::memory
                                          : Bound::network;
  return price;
}

// Both ends move every byte: HBM here, PCIe between. A direction has the whole bandwidth for
// itself.
Price price(const HostCopy& work, const Machine& machine) {
  const auto bytes = static_cast<double>(work.bytes.value());
  ResourceTimes times{};
  times[hbm] = bytes / machine.hbm.value() * 1e12;
  times[work.to_host ? pcie_out : pcie_in] = bytes / machine.pcie.value() * 1e12;
  return priced(times, Picoseconds{});
}

Price price(const Leaf& leaf, const Machine& machine) {
  return std::visit([&](const auto& work) { return price(work, machine); }, leaf.work);
}

}  // namespace meshsim
