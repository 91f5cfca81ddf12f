// The prices of a program whose routing may be unbalanced.
//
// The devices of an expert-parallel group run the same operations on their own rows and meet in
// every collective over the group. Between two meetings the straggler of the exchange, the rank
// with the most rows, sets the time: the others wait. A leaf that follows the routing is priced as
// the straggler runs it, an exchange by its busiest link or device. A step is thus the sum over its
// exchanges of the slowest rank's time, never the slowest rank's sum.
//
//   imbalance = max(0, price - price under balanced routing)
//
// is the part of a duration that balanced routing would spare.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "cost_models/exchange_price.hpp"
#include "cost_models/price.hpp"
#include "program/expert_loads.hpp"

namespace meshsim {

// The work of a leaf that follows the routing, on any number of rows; without waiting.
class LoadedPrice {
 public:
  // All must outlive this.
  LoadedPrice(const Compute& work, const Routed& routed, const Machine& machine)
      : work_(work), routed_(routed), machine_(machine), own_(work) {}
  Price operator()(std::int64_t rows, std::int64_t experts);  // of so many experts

 private:
  const Compute& work_;
  const Routed& routed_;
  const Machine& machine_;
  Compute own_;
};

class RoutedPrices {
 public:
  // Both must outlive this. `loads` null: all is balanced.
  RoutedPrices(const ExpertLoads* loads, const Machine& machine)
      : loads_(loads), machine_(machine) {
    if (loads_ != nullptr) traffic_.resize(loads_->exchanges.size());
  }

  bool balanced() const { return loads_ == nullptr; }

  // The exchange that `leaf` belongs to, `offset` further than it says; -1: none.
  static std::int32_t exchange_of(const Leaf& leaf, std::int32_t offset) {
    return leaf.routed.exchange < 0 ? -1 : leaf.routed.exchange + offset;
  }

  Price operator()(const Leaf& leaf, std::int32_t exchange);

 private:
  const ExchangeTraffic& traffic(std::int32_t exchange, const Collective& work, bool to_experts);

  const ExpertLoads* loads_;
  const Machine& machine_;
  std::vector<std::array<std::optional<ExchangeTraffic>, 2>> traffic_;  // to experts, and back
};

}  // namespace meshsim
