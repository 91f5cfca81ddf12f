#include "program/expert_loads.hpp"

#include "plans/plan_routing.hpp"
#include "routing/routing_loads.hpp"

namespace meshsim {

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
