#include "program/expert_loads.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "plans/pipeline.hpp"
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

namespace {

// The exchanges of every layer, draw by draw.
class Draws {
 public:
  Draws(const Plan& plan, const Exchange& exchange, const std::vector<bool>& hashed,
        std::int64_t draws)
      : exchange_(exchange),
        ranks_(plan.mesh.size("expert")),
        slots_(checked_product({ranks_, exchange.tokens, plan.model.config.num_experts_per_tok},
                               "slots")),
        drawn_(plan.routing,
               {ranks_, plan.model.config.num_experts, plan.model.config.num_experts_per_tok,
                plan.model.vocab_size, exchange.tokens, hashed, draws * exchange.parts}) {}

  // Layer by layer, the parts of each.
  std::vector<ExpertLoads::One> operator()(std::int64_t draw) const {
    std::vector<std::vector<CountMatrix>> parts;
    for (std::int64_t part = 0; part < exchange_.parts; ++part)
      parts.push_back(drawn_(draw * exchange_.parts + part));
    std::vector<ExpertLoads::One> all;
    for (std::size_t layer = 0; layer < parts.front().size(); ++layer) {
      for (const std::vector<CountMatrix>& part : parts) {
        ExpertLoads::One one;
        one.balanced = part[layer].counts.empty();
        if (!one.balanced) one.load = exchange_load(part[layer], exchange_.buffer, exchange_.cut);
        all.push_back(std::move(one));
      }
    }
    return all;
  }

  std::int64_t slots(const ExpertLoads::One& one) const {
    return one.balanced ? slots_ : one.load.slots;
  }
  std::int64_t dropped(const ExpertLoads::One& one) const {
    if (!one.balanced) return one.load.dropped;
    return exchange_.buffer < 0 ? 0 : std::max<std::int64_t>(0, slots_ - ranks_ * exchange_.buffer);
  }
  // Of the rank with most.
  std::int64_t most_rows(const ExpertLoads::One& one) const {
    return one.balanced ? (slots_ - dropped(one)) / ranks_ : one.load.straggler_rows();
  }

 private:
  Exchange exchange_;
  std::int64_t ranks_;
  std::int64_t slots_;  // of one exchange
  RoutingDraws drawn_;
};

void add(ExpertLoads& loads, const Draws& draws, const ExpertLoads::One& one) {
  loads.slots += draws.slots(one);
  loads.dropped += draws.dropped(one);
}

void lay_out_pipeline(const PipelineSchedule& schedule, const Draws& draws, ExpertLoads& loads) {
  const std::int64_t stage_layers = schedule.stage_layers;
  for (std::int64_t step = 0; step < loads.microbatches; ++step) {
    std::vector<std::vector<ExpertLoads::One>> drawn;  // per microbatch of the pipeline
    for (std::int64_t m = 0; m < schedule.microbatches; ++m)
      drawn.push_back(draws(step * schedule.microbatches + m));
    for (std::int64_t t = 0; t < schedule.iterations(); ++t) {
      std::int64_t most = -1;
      std::span<const ExpertLoads::One> slowest;
      std::int64_t slowest_first = 0;
      for (std::int64_t stage = 0; stage < schedule.stages; ++stage) {
        const std::int64_t busy = t - schedule.hop * stage;
        if (busy < 0 || busy >= schedule.busy()) continue;
        const std::int64_t first =
            (busy / schedule.microbatches * schedule.stages + stage) * stage_layers;
        const auto mine = std::span(drawn[static_cast<std::size_t>(busy % schedule.microbatches)])
                              .subspan(static_cast<std::size_t>(first * loads.parts),
                                       static_cast<std::size_t>(stage_layers * loads.parts));
        std::int64_t rows = 0;
        for (const ExpertLoads::One& one : mine) {
          rows += draws.most_rows(one);
          add(loads, draws, one);
        }
        if (rows <= most) continue;
        most = rows;
        slowest = mine;
        slowest_first = first;
      }
      loads.exchanges.insert(loads.exchanges.end(), slowest.begin(), slowest.end());
      for (std::size_t i = 0; i < slowest.size(); ++i)
        loads.of_stage.push_back(static_cast<std::size_t>(slowest_first) +
                                 i / static_cast<std::size_t>(loads.parts));
    }
  }
}

// Layer by layer of every microbatch, whose draws begin at `first`.
void lay_out(const Draws& draws, std::int64_t first, ExpertLoads& loads) {
  for (std::int64_t m = 0; m < loads.microbatches; ++m) {
    for (ExpertLoads::One& one : draws(first + m)) {
      add(loads, draws, one);
      loads.exchanges.push_back(std::move(one));
    }
  }
}

ExpertLoads form_of(const Plan& plan, const Exchange& exchange) {
  ExpertLoads loads;
  loads.microbatches = plan.training.gradient_accumulation;
  loads.parts = exchange.parts;
  loads.hashed = hash_routed(plan.model);
  loads.layer = expert_layers(plan.model);
  return loads;
}

}  // namespace

std::shared_ptr<const ExpertLoads> expert_loads(const Plan& plan, const Exchange& exchange) {
  if (plan.routing.balanced() || exchange.parts == 0) return {};
  auto loads = std::make_shared<ExpertLoads>(form_of(plan, exchange));
  const PipelineSchedule schedule = pipeline_schedule(plan);
  const Draws draws(plan, exchange, loads->hashed, loads->microbatches * schedule.microbatches);
  if (schedule.stages > 1) {
    lay_out_pipeline(schedule, draws, *loads);
  } else {
    lay_out(draws, 0, *loads);
  }
  return loads;
}

std::vector<std::shared_ptr<const ExpertLoads>> group_loads(const Plan& plan,
                                                            const Exchange& exchange,
                                                            std::int64_t groups) {
  const ExpertLoads form = form_of(plan, exchange);
  const Draws draws(plan, exchange, form.hashed, form.microbatches * groups);
  std::vector<std::shared_ptr<const ExpertLoads>> all;
  for (std::int64_t group = 0; group < groups; ++group) {
    auto loads = std::make_shared<ExpertLoads>(form);
    lay_out(draws, group * form.microbatches, *loads);
    all.push_back(std::move(loads));
  }
  return all;
}

}  // namespace meshsim
