#include "cost_models/routed_prices.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

// What of `price` balanced routing would spare.
Price with_imbalance(Price price, const Price& balanced) {
  if (price.duration <= balanced.duration) return price;
  price.imbalance = price.duration - balanced.duration;
  price.core = balanced.core;
  price.bound = balanced.bound;
  return price;
}

}  // namespace

Price LoadedPrice::operator()(std::int64_t rows, std::int64_t experts) {
  const double share = static_cast<double>(rows) / static_cast<double>(routed_.rows);
  const auto scaled = [&](Bytes bytes) {
    return Bytes(std::llround(static_cast<double>(bytes.value()) * share));
  };
  own_.hbm_bytes = work_.hbm_bytes - routed_.bytes + scaled(routed_.bytes);
  own_.gathered = scaled(work_.gathered);
  own_.scatter_added = scaled(work_.scatter_added);
  own_.model_flops =
      FlopCount(std::llround(static_cast<double>(work_.model_flops.value()) * share));
  for (Matmul& product : own_.matmuls) product.m = rows;
  own_.groups = std::min(work_.groups, experts);
  return price(own_, machine_);
}

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
    return with_imbalance(LoadedPrice(*work, routed, machine_)(one.load.straggler_rows(),
                                                               one.load.straggler_experts()),
                          balanced);
  }
  const auto& work = std::get<Collective>(leaf.work);
  const double slot = static_cast<double>(routed.bytes.value()) / static_cast<double>(routed.rows);
  return with_imbalance(price(work, traffic(exchange, work, routed.to_experts), slot, machine_),
                        balanced);
}

}  // namespace meshsim
