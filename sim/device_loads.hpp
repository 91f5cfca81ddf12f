// What the operations of a step cost each class of devices, when tokens are routed unevenly.
//
// The devices of an expert-parallel group have rows of their own: M[i, p] slots go from rank i to
// rank p, which multiplies r_p = sum_i M[i, p] rows. An exchange takes its group as long as the
// busiest link that it crosses, or the busiest of its devices, needs. Groups that lie interleaved
// on an axis of the torus share its links: what crosses one is the sum over them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cost_models/routed_prices.hpp"
#include "sim/device_grid.hpp"
#include "sim/numbering.hpp"

namespace meshsim {

// Prices of one operation on devices of several classes.
struct ClassPrices {
  std::vector<Price> prices;
  Numbers of;  // of each class: which of them
  const Price& operator[](std::size_t device_class) const { return prices[of[device_class]]; }
};

class DeviceLoads {
 public:
  virtual ~DeviceLoads() = default;
  // Of `leaf`, which belongs to `exchange` (-1: none), on every class of devices.
  virtual void price(const Leaf& leaf, std::int32_t exchange, ClassPrices& all) = 0;
};

// All groups route alike: a class is a rank. Needs a grid of the axis "expert" alone.
class RankLoads : public DeviceLoads {
 public:
  // Of `ranks` classes. Both must outlive this. `loads` null: all is balanced.
  RankLoads(const ExpertLoads* loads, std::size_t ranks, const Machine& machine)
      : loads_(loads), ranks_(ranks), machine_(machine), prices_(loads, machine) {}
  void price(const Leaf& leaf, std::int32_t exchange, ClassPrices& all) override;

 private:
  const ExpertLoads* loads_;
  std::size_t ranks_;
  const Machine& machine_;
  RoutedPrices prices_;
  Numbering numbering_;
};

// Every group has loads of its own.
class GroupLoads : public DeviceLoads {
 public:
  // `loads`: of each group, as the classes of `grid` meet in a collective over "expert". The
  // machine and the grid must outlive this.
  GroupLoads(std::vector<std::shared_ptr<const ExpertLoads>> loads, const DeviceGrid& grid,
             const Machine& machine);
  void price(const Leaf& leaf, std::int32_t exchange, ClassPrices& all) override;

 private:
  const ExchangeTraffic& traffic(std::size_t group, std::int32_t exchange, const Collective& work,
                                 bool to_experts);
  void find_sharing(const std::vector<PhysicalPart>& parts);

  std::vector<std::shared_ptr<const ExpertLoads>> loads_;
  const DeviceGrid& grid_;
  const Machine& machine_;
  std::vector<std::uint32_t> group_, rank_;        // per class
  std::vector<std::vector<std::uint32_t>> share_;  // per part of "expert" and group: who shares
  bool knows_sharing_ = false;
  Numbering numbering_;
  std::vector<const ExchangeLoad*> exchange_;  // per group: scratch space
  std::unordered_map<std::int64_t, std::vector<ExchangeTraffic>> traffic_;  // per exchange and way
};

}  // namespace meshsim
