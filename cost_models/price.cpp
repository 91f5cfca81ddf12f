#include "cost_models/price.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {

std::string_view name(Resource resource) {
  constexpr std::array<std::string_view, resource_count> names{"tensor_core", "hbm",   "ici_0",
                                                               "ici_1",       "ici_2", "ici_3"};
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

Price price(const Leaf& leaf, const Machine& machine) {
  if (const auto* compute = std::get_if<Compute>(&leaf.work)) return price(*compute, machine);
  return price(std::get<Collective>(leaf.work), machine);
}

}  // namespace meshsim
