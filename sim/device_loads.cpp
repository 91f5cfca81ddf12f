#include "sim/device_loads.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "units/error.hpp"

namespace meshsim {

Price RankLoads::price(const Leaf& leaf, std::int32_t exchange, std::size_t device_class) {
  if (std::holds_alternative<Compute>(leaf.work))
    return prices_.of_rank(leaf, exchange, static_cast<std::int64_t>(device_class));
  return prices_(leaf, exchange);
}

GroupLoads::GroupLoads(std::vector<std::shared_ptr<const ExpertLoads>> loads,
                       const DeviceGrid& grid, const Machine& machine)
    : loads_(std::move(loads)), grid_(grid), machine_(machine) {
  const DeviceGrid::Meetings& groups = grid.meetings({"expert"});
  if (groups.count != loads_.size())
    throw Error(ErrorKind::internal, "loads of another number of expert-parallel groups");
  group_ = groups.of;
  std::vector<std::uint32_t> members(groups.count, 0);
  for (const std::uint32_t group : group_) rank_.push_back(members[group]++);
  prices_.reserve(loads_.size());
  for (const auto& one : loads_) prices_.emplace_back(one.get(), machine);
}

Price GroupLoads::price(const Leaf& leaf, std::int32_t exchange, std::size_t device_class) {
  const std::size_t group = group_[device_class];
  if (std::holds_alternative<Compute>(leaf.work))
    return prices_[group].of_rank(leaf, exchange, rank_[device_class]);
  const auto& work = std::get<Collective>(leaf.work);
  if (exchange < 0 || loads_[group]->exchanges[static_cast<std::size_t>(exchange)].balanced)
    return meshsim::price(leaf, machine_);
  const Routed& routed = leaf.routed;
  const double slot = static_cast<double>(routed.bytes.value()) / static_cast<double>(routed.rows);
  return meshsim::price(work, traffic(group, exchange, work, routed.to_experts), slot, machine_);
}

// On the axis of part d the groups that differ only in coordinates whose parts lie inside the
// stride of "expert" are interleaved.
void GroupLoads::find_sharing(const std::vector<PhysicalPart>& parts) {
  knows_sharing_ = true;
  share_.resize(parts.size() * loads_.size());
  for (std::size_t d = 0; d < parts.size(); ++d) {
    // Of a group: its coordinates but those, as a key.
    std::map<std::vector<std::int64_t>, std::vector<std::uint32_t>> together;
    std::vector<bool> seen(loads_.size());
    for (std::size_t one = 0; one < grid_.classes(); ++one) {
      if (seen[group_[one]]) continue;
      seen[group_[one]] = true;
      std::vector<std::int64_t> key;
      for (std::size_t axis = 0; axis < grid_.axes().size(); ++axis) {
        const std::string& name = grid_.axes()[axis].name;
        if (name == "expert") continue;
        std::int64_t coordinate = grid_.coordinate(one, axis);
        const std::vector<PhysicalPart> own = machine_.parts({name});
        // Its digits, the last part fastest.
        for (std::size_t i = own.size(); i-- > 0;) {
          const bool inside = own[i].axis == parts[d].axis && own[i].stride < parts[d].stride;
          if (!inside) key.push_back(coordinate % own[i].part);
          coordinate /= own[i].part;
        }
        key.push_back(coordinate);
      }
      together[key].push_back(group_[one]);
    }
    for (const auto& [key, groups] : together) {
      for (const std::uint32_t group : groups) share_[d * loads_.size() + group] = groups;
    }
  }
}

const ExchangeTraffic& GroupLoads::traffic(std::size_t group, std::int32_t exchange,
                                           const Collective& work, bool to_experts) {
  std::vector<ExchangeTraffic>& all = traffic_[2 * std::int64_t{exchange} + (to_experts ? 1 : 0)];
  if (!all.empty()) return all[group];
  const std::vector<PhysicalPart> parts = machine_.parts(work.mesh_axes);
  const std::int64_t slices = machine_.slices(work.mesh_axes);
  if (!knows_sharing_) find_sharing(parts);
  const auto matrix = [&](std::size_t one) {
    const CountMatrix& sent = loads_[one]->exchanges[static_cast<std::size_t>(exchange)].load.sent;
    return to_experts ? sent : transposed(sent);
  };
  std::vector<CountMatrix> sent;
  for (std::size_t one = 0; one < loads_.size(); ++one) sent.push_back(matrix(one));
  for (const CountMatrix& one : sent) all.push_back(exchange_traffic(one, parts, slices));
  // Loads of links add up: those of the groups together, over how many there are.
  for (std::size_t d = 0; d < parts.size(); ++d) {
    for (std::size_t one = 0; one < loads_.size(); ++one) {
      const std::vector<std::uint32_t>& share = share_[d * loads_.size() + one];
      if (share.size() < 2 || share.front() != one) continue;
      CountMatrix sum = sent[one];
      for (std::size_t i = 1; i < share.size(); ++i) {
        for (std::size_t n = 0; n < sum.counts.size(); ++n)
          sum.counts[n] += sent[share[i]].counts[n];
      }
      const double links = exchange_traffic(sum, parts, slices).links[d];
      for (const std::uint32_t other : share)
        all[other].links[d] = links / static_cast<double>(share.size());
    }
  }
  return all[group];
}

}  // namespace meshsim
