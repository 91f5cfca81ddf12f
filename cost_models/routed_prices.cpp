#include "cost_models/routed_prices.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

// `work` on `rows` rows of so many experts instead of those of balanced routing.
Compute loaded(const Compute& work, const Routed& routed, std::int64_t rows, std::int64_t experts) {
  Compute own = work;
  const double share = static_cast<double>(rows) / static_cast<double>(routed.rows);
  const auto scaled = [&](Bytes bytes) {
    return Bytes(std::llround(static_cast<double>(bytes.value()) * share));
  };
  own.hbm_bytes = work.hbm_bytes - routed.bytes + scaled(routed.bytes);
  own.gathered = scaled(work.gathered);
  own.scatter_added = scaled(work.scatter_added);
  own.model_flops = FlopCount(std::llround(static_cast<double>(work.model_flops.value()) * share));
  for (Matmul& product : own.matmuls) product.m = rows;
  own.groups = std::min(work.groups, experts);
  return own;
}

// What of `price` balanced routing would spare.
Price with_imbalance(Price price, const Price& balanced) {
  if (price.duration <= balanced.duration) return price;
  price.imbalance = price.duration - balanced.duration;
  price.core = balanced.core;
  price.bound = balanced.bound;
  return price;
}

}  // namespace

const ExchangeTraffic& RoutedPrices::traffic(std::int32_t exchange, const Collective& work,
                                             bool to_experts) {
  auto& known = traffic_[static_cast<std::size_t>(exchange)][to_experts ? 0 : 1];
  if (!known) {
    const CountMatrix& sent = loads_->exchanges[static_cast<std::size_t>(exchange)].load.sent;
    known = exchange_traffic(to_experts ? sent : transposed(sent), machine_.parts(work.mesh_axes),
                             machine_.slices(work.mesh_axes));
  }
  return *known;
}

Price RoutedPrices::operator()(const Leaf& leaf, std::int32_t exchange) {
  const Price balanced = price(leaf, machine_);
  if (loads_ == nullptr || exchange < 0) return balanced;
  const ExpertLoads::One& one = loads_->exchanges[static_cast<std::size_t>(exchange)];
  if (one.balanced) return balanced;
  const Routed& routed = leaf.routed;
  if (const auto* work = std::get_if<Compute>(&leaf.work)) {
    return with_imbalance(
        price(loaded(*work, routed, one.load.straggler_rows(), one.load.straggler_experts()),
              machine_),
        balanced);
  }
  const auto& work = std::get<Collective>(leaf.work);
  const double slot = static_cast<double>(routed.bytes.value()) / static_cast<double>(routed.rows);
  return with_imbalance(price(work, traffic(exchange, work, routed.to_experts), slot, machine_),
                        balanced);
}

Price RoutedPrices::of_rank(const Leaf& leaf, std::int32_t exchange, std::int64_t rank) const {
  const auto* work = std::get_if<Compute>(&leaf.work);
  if (work == nullptr || loads_ == nullptr || exchange < 0 ||
      loads_->exchanges[static_cast<std::size_t>(exchange)].balanced)
    return price(leaf, machine_);
  const ExchangeLoad& load = loads_->exchanges[static_cast<std::size_t>(exchange)].load;
  const auto at = static_cast<std::size_t>(rank);
  return price(loaded(*work, leaf.routed, load.rows[at], load.experts[at]), machine_);
}

}  // namespace meshsim
