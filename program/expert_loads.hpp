// The loads of every exchange of a step: what the plan's routing scenario gives to each MoE layer,
// in each microbatch and each share of the tokens.
//
//   exchange = (microbatch x MoE layers + layer) x parts + part
//
// All expert-parallel groups of the plan are taken to route alike, or each draws its own tokens for
// one router (group_loads).
//
// In a pipeline the stages work on other layers and microbatches at the same time, and pass them on
// together: an iteration lasts as long as its slowest stage, here the one whose experts have most
// rows in all of its layers.
//
//   exchange = ((accumulation step x iterations + iteration) x layers of a stage + layer) x parts
//              + part
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "plans/plan.hpp"
#include "program/layer_template.hpp"
#include "routing/exchange_load.hpp"

namespace meshsim {

struct ExpertLoads {
  struct One {
    bool balanced = true;  // then `load` is empty
    ExchangeLoad load;
  };
  std::int64_t microbatches = 1;
  std::int64_t parts = 1;
  std::vector<bool> hashed;        // per MoE layer, in the order of the model
  std::vector<std::size_t> layer;  // the decoder layer that it is; beyond them, prediction blocks
  std::vector<One> exchanges;
  std::vector<std::size_t> of_stage;  // of a pipeline: per exchange, which MoE layer it is of
  // Of one expert-parallel group and step; of all stages of a pipeline.
  std::int64_t slots = 0, dropped = 0;

  std::size_t layer_of(std::size_t exchange) const {
    if (!of_stage.empty()) return of_stage[exchange];
    return exchange / static_cast<std::size_t>(parts) % hashed.size();
  }
};

// `exchange` is that of the plan's MoE layers. Null if the plan's routing is balanced.
std::shared_ptr<const ExpertLoads> expert_loads(const Plan& plan, const Exchange& exchange);

// Of `groups` groups, each with draws of its own: tokens differ, the popularities of experts do
// not. The plan's routing must not be balanced, and the plan no pipeline.
std::vector<std::shared_ptr<const ExpertLoads>> group_loads(const Plan& plan,
                                                            const Exchange& exchange,
                                                            std::int64_t groups);

// Slots of one expert-parallel group in one step, and those of them that find no place.
struct PlacedSlots {
  std::int64_t routed = 0, dropped = 0;
};

// Of the dense path with capacity: each sequence has C places of every expert, and drops
//
//   sum over experts of max(0, slots - C)
//
// The sequences of a device route apart; of a trace, which counts by device, they share their
// places.
PlacedSlots slots_in_places(const Plan& plan);

}  // namespace meshsim
