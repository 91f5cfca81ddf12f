#include "program/expert_loads.hpp"

#include <algorithm>
#include <iterator>

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

// Every exchange of every layer, draw by draw.
class Draws {
 public:
  Draws(const Plan& plan, const Exchange& exchange, const std::vector<bool>& hashed,
        std::int64_t draws)
      : exchange_(exchange),
        layers_(hashed.size()),
        slots_(checked_product(
            {plan.mesh.size("expert"), exchange.tokens, plan.model.config.num_experts_per_tok},
            "slots")) {
    const RoutedLayers routed{plan.mesh.size("expert"),
                              plan.model.config.num_experts,
                              plan.model.config.num_experts_per_tok,
                              plan.model.vocab_size,
                              exchange.tokens,
                              hashed,
                              draws * exchange.parts};
    drawn_ = routing_loads(plan.routing, routed);
    ranks_ = routed.ranks;
  }

  ExpertLoads::One at(std::int64_t draw, std::size_t layer, std::int64_t part) const {
    const auto d = static_cast<std::size_t>(draw * exchange_.parts + part);
    const CountMatrix& slots = drawn_.layers[d * layers_ + layer];
    ExpertLoads::One one;
    one.balanced = slots.counts.empty();
    if (!one.balanced) one.load = exchange_load(slots, exchange_.buffer, exchange_.cut);
    return one;
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
  std::size_t layers_;
  std::int64_t slots_;  // of one exchange
  std::int64_t ranks_ = 1;
  RoutingLoads drawn_;
};

void add(ExpertLoads& loads, const Draws& draws, const ExpertLoads::One& one) {
  loads.slots += draws.slots(one);
  loads.dropped += draws.dropped(one);
}

// The exchanges of one layer for one microbatch.
std::vector<ExpertLoads::One> exchanges_of(const Draws& draws, std::int64_t draw, std::size_t layer,
                                           std::int64_t parts) {
  std::vector<ExpertLoads::One> all;
  for (std::int64_t part = 0; part < parts; ++part) all.push_back(draws.at(draw, layer, part));
  return all;
}

void lay_out_pipeline(const PipelineSchedule& schedule, const Draws& draws, ExpertLoads& loads) {
  const std::int64_t stage_layers = schedule.stage_layers;
  for (std::int64_t step = 0; step < loads.microbatches; ++step) {
    for (std::int64_t t = 0; t < schedule.iterations(); ++t) {
      std::int64_t most = -1;
      std::vector<ExpertLoads::One> slowest;
      std::vector<std::size_t> of;
      for (std::int64_t stage = 0; stage < schedule.stages; ++stage) {
        const std::int64_t busy = t - schedule.hop * stage;
        if (busy < 0 || busy >= schedule.busy()) continue;
        const std::int64_t draw = step * schedule.microbatches + busy % schedule.microbatches;
        const std::int64_t first =
            (busy / schedule.microbatches * schedule.stages + stage) * stage_layers;
        std::int64_t rows = 0;
        std::vector<ExpertLoads::One> mine;
        std::vector<std::size_t> layers;
        for (std::int64_t layer = first; layer < first + stage_layers; ++layer) {
          for (ExpertLoads::One& one :
               exchanges_of(draws, draw, static_cast<std::size_t>(layer), loads.parts)) {
            rows += draws.most_rows(one);
            add(loads, draws, one);
            mine.push_back(std::move(one));
            layers.push_back(static_cast<std::size_t>(layer));
          }
        }
        if (rows <= most) continue;
        most = rows;
        slowest = std::move(mine);
        of = std::move(layers);
      }
      std::move(slowest.begin(), slowest.end(), std::back_inserter(loads.exchanges));
      loads.of_stage.insert(loads.of_stage.end(), of.begin(), of.end());
    }
  }
}

// Layer by layer of every microbatch, whose draws begin at `first`.
void lay_out(const Draws& draws, std::int64_t first, ExpertLoads& loads) {
  for (std::int64_t m = 0; m < loads.microbatches; ++m) {
    for (std::size_t layer = 0; layer < loads.hashed.size(); ++layer) {
      for (ExpertLoads::One& one : exchanges_of(draws, first + m, layer, loads.parts)) {
        add(loads, draws, one);
        loads.exchanges.push_back(std::move(one));
      }
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
