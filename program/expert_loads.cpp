#include "program/expert_loads.hpp"

#include <algorithm>

#include "plans/plan_routing.hpp"
#include "program/local_shapes.hpp"
#include "routing/capacity.hpp"
#include "routing/routing_loads.hpp"
#include "units/checked.hpp"

namespace meshsim {

PlacedSlots slots_in_places(const Plan& plan) {
  const ResolvedConfig& config = plan.config;
  const LocalBatch batch = layer_batch(plan);
  const std::int64_t experts = plan.model.config.num_experts;
  const std::int64_t top_k = plan.model.config.num_experts_per_tok;
  const bool traced = plan.routing.law.kind == RoutingLaw::Kind::trace;
  // What shares its places: a sequence, or a device's sequences.
  const std::int64_t shares = traced ? batch.sequences : 1;
  const std::int64_t places = checked_multiply(
      expert_capacity(batch.sequence, top_k, experts, config.real("capacity_factor")), shares,
      "places");
  const std::int64_t sources = plan.mesh.size("expert") * batch.sequences / shares;
  const std::int64_t tokens = batch.length * shares;
  const std::vector<bool> hashed = hash_routed(plan.model);
  const std::int64_t microbatches = plan.training.gradient_accumulation;
  PlacedSlots all;
  const std::int64_t slots = checked_product({sources, tokens, top_k}, "slots");
  all.routed =
      checked_product({slots, static_cast<std::int64_t>(hashed.size()), microbatches}, "slots");
  const std::int64_t even =
      slots - std::min(slots, checked_product({sources, experts, places}, "places"));
  const auto add_even = [&](std::int64_t times) { all.dropped += even * times; };
  if (plan.routing.balanced()) {
    add_even(static_cast<std::int64_t>(hashed.size()) * microbatches);
    return all;
  }
  const RoutedLayers routed{sources, experts, top_k,       plan.model.vocab_size,
                            tokens,  hashed,  microbatches};
  for (const CountMatrix& layer : routing_loads(plan.routing, routed).layers) {
    if (layer.counts.empty()) add_even(1);
    for (const std::int64_t count : layer.counts)
      all.dropped += std::max<std::int64_t>(0, count - places);
  }
  return all;
}

std::shared_ptr<const ExpertLoads> expert_loads(const Plan& plan, const Exchange& exchange) {
  if (plan.routing.balanced() || exchange.parts == 0) return {};
  auto loads = std::make_shared<ExpertLoads>();
  loads->microbatches = plan.training.gradient_accumulation;
  loads->parts = exchange.parts;
  loads->hashed = hash_routed(plan.model);
  loads->layer = expert_layers(plan.model);
  const RoutedLayers routed{plan.mesh.size("expert"),
                            plan.model.config.num_experts,
                            plan.model.config.num_experts_per_tok,
                            plan.model.vocab_size,
                            exchange.tokens,
                            loads->hashed,
                            loads->microbatches * loads->parts};
  const RoutingLoads drawn = routing_loads(plan.routing, routed);
  const auto layers = loads->hashed.size();
  const auto parts = static_cast<std::size_t>(loads->parts);
  for (std::size_t m = 0; m < static_cast<std::size_t>(loads->microbatches); ++m) {
    for (std::size_t layer = 0; layer < layers; ++layer) {
      for (std::size_t part = 0; part < parts; ++part) {
        const CountMatrix& slots = drawn.layers[(m * parts + part) * layers + layer];
        ExpertLoads::One& one = loads->exchanges.emplace_back();
        one.balanced = slots.counts.empty();
        if (!one.balanced) one.load = exchange_load(slots, exchange.buffer, exchange.cut);
      }
    }
  }
  return loads;
}

}  // namespace meshsim
