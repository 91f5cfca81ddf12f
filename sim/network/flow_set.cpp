#include "sim/network/flow_set.hpp"

#include <algorithm>

namespace meshsim {
namespace {

std::size_t index(std::int32_t id) { return static_cast<std::size_t>(id); }

}  // namespace

FlowId FlowSet::add(double bytes, Picoseconds start, std::span<const ResourceId> links,
                    std::int32_t collective) {
  const auto id = static_cast<FlowId>(bytes_.size());
  bytes_.push_back(bytes);
  start_.push_back(start);
  collective_.push_back(collective);
  collectives_ = std::max(collectives_, collective + 1);
  links_.insert(links_.end(), links.begin(), links.end());
  first_.push_back(links_.size());
  return id;
}

std::span<const ResourceId> FlowSet::links(FlowId flow) const {
  const std::size_t first = first_[index(flow)];
  return {links_.data() + first, first_[index(flow) + 1] - first};
}

}  // namespace meshsim
