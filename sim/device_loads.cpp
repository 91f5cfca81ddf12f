#include "sim/device_loads.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "units/error.hpp"

namespace meshsim {

namespace {

// On classes that have `rows(class)` rows of `experts(class)` experts: each pair is priced once.
template <class Rows, class Experts>
void price_rows(const Leaf& leaf, std::size_t classes, const Rows& rows, const Experts& experts,
                const Machine& machine, Numbering& numbering, ClassPrices& all) {
  const auto hash = [&](std::size_t d) {
    return Numbering::mixed(Numbering::mixed(0, static_cast<std::uint64_t>(rows(d))),
                            static_cast<std::uint64_t>(experts(d)));
  };
  const auto equal = [&](std::size_t a, std::size_t b) {
    return rows(a) == rows(b) && experts(a) == experts(b);
  };
  const std::uint32_t count = numbering.run(classes, hash, equal, all.of);
  LoadedPrice loaded(std::get<Compute>(leaf.work), leaf.routed, machine);
  for (std::size_t d = 0; all.prices.size() < count; ++d) {
    if (all.of[d] == all.prices.size()) all.prices.push_back(loaded(rows(d), experts(d)));
  }
}

}  // namespace

void RankLoads::price(const Leaf& leaf, std::int32_t exchange, ClassPrices& all) {
  all.prices.clear();
  const ExpertLoads::One* one = nullptr;
  if (loads_ != nullptr && exchange >= 0)
    one = &loads_->exchanges[static_cast<std::size_t>(exchange)];
  if (one == nullptr || one->balanced || !std::holds_alternative<Compute>(leaf.work)) {
    all.of.assign(ranks_, 0);
    all.prices.push_back(prices_(leaf, exchange));
    return;
  }
  price_rows(
      leaf, ranks_, [&](std::size_t p) { return one->load.rows[p]; },
      [&](std::size_t p) { return one->load.experts[p]; }, machine_, numbering_, all);
}

GroupLoads::GroupLoads(std::vector<std::shared_ptr<const ExpertLoads>> loads,
                       const DeviceGrid& grid, const Machine& machine)
    : loads_(std::move(loads)), grid_(grid), machine_(machine) {
  const DeviceGrid::Meetings& groups = grid.meetings({"expert"});
  group_ = groups.of;
  if (group_.empty()) {  // one device each
    group_.resize(grid.classes());
    std::iota(group_.begin(), group_.end(), 0);
  }
  if ((groups.of.empty() ? group_.size() : groups.count) != loads_.size())
    throw Error(ErrorKind::internal, "loads of another number of expert-parallel groups");
  std::vector<std::uint32_t> members(loads_.size(), 0);
  for (const std::uint32_t group : group_) rank_.push_back(members[group]++);
}

void GroupLoads::price(const Leaf& leaf, std::int32_t exchange, ClassPrices& all) {
  all.prices.clear();
  // All groups route one model: they are balanced together.
  if (exchange < 0 || loads_.front()->exchanges[static_cast<std::size_t>(exchange)].balanced) {
    all.of.assign(group_.size(), 0);
    all.prices.push_back(meshsim::price(leaf, machine_));
    return;
  }
  if (const auto* work = std::get_if<Collective>(&leaf.work)) {
    const Routed& routed = leaf.routed;
    const double slot =
        static_cast<double>(routed.bytes.value()) / static_cast<double>(routed.rows);
    for (std::size_t group = 0; group < loads_.size(); ++group) {
      all.prices.push_back(meshsim::price(*work, traffic(group, exchange, *work, routed.to_experts),
                                          slot, machine_));
    }
    all.of = group_;
    return;
  }
  exchange_.clear();
  for (const auto& loads : loads_)
    exchange_.push_back(&loads->exchanges[static_cast<std::size_t>(exchange)].load);
  price_rows(
      leaf, group_.size(), [&](std::size_t d) { return exchange_[group_[d]]->rows[rank_[d]]; },
      [&](std::size_t d) { return exchange_[group_[d]]->experts[rank_[d]]; }, machine_, numbering_,
      all);
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
