// Flows with their routes, one after the other in a few arrays: an all-to-all has P^2 of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/network/max_min_system.hpp"
#include "units/quantity.hpp"

namespace meshsim {

using FlowId = std::int32_t;

class FlowSet {
 public:
  // Requires bytes >= 0, a start >= 0 and links that the network has, each at most once.
  // `collective` says whose bytes they are, in accounts.
  FlowId add(double bytes, Picoseconds start, std::span<const ResourceId> links,
             std::int32_t collective = 0);
  std::size_t size() const { return bytes_.size(); }
  double bytes(FlowId flow) const { return bytes_[static_cast<std::size_t>(flow)]; }
  Picoseconds start(FlowId flow) const { return start_[static_cast<std::size_t>(flow)]; }
  std::int32_t collective(FlowId flow) const { return collective_[static_cast<std::size_t>(flow)]; }
  std::int32_t collectives() const { return collectives_; }
  std::span<const ResourceId> links(FlowId flow) const;

 private:
  std::vector<double> bytes_;
  std::vector<std::int32_t> collective_;
  std::int32_t collectives_ = 1;
  std::vector<Picoseconds> start_;
  std::vector<std::size_t> first_{0};
  std::vector<ResourceId> links_;
};

}  // namespace meshsim
