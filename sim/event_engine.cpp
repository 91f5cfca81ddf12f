#include "sim/event_engine.hpp"

#include "sim/activity_graph.hpp"
#include "sim/fluid.hpp"

namespace meshsim {

namespace {

void add_imbalance(Timeline& timeline, std::int32_t exchange, Picoseconds time) {
  if (exchange < 0 || time.value() == 0) return;
  const auto at = static_cast<std::size_t>(exchange);
  if (timeline.imbalance.size() <= at) timeline.imbalance.resize(at + 1);
  timeline.imbalance[at] += time;
}

}  // namespace

Timeline simulate_events(const ProgramNode& node, const Machine& machine, std::int64_t event_cap) {
  RoutedPrices balanced(nullptr, machine);
  return simulate_events(node, balanced, 0, event_cap);
}

Timeline simulate_events(const StepProgram& program, const Machine& machine,
                         std::int64_t event_cap) {
  RoutedPrices prices(program.loads.get(), machine);
  return simulate_events(program.root, prices, 0, event_cap);
}

Timeline simulate_events(const ProgramNode& node, RoutedPrices& price, std::int32_t exchange_offset,
                         std::int64_t event_cap) {
  const ActivityGraph graph = activity_graph(node, event_cap, exchange_offset);
  std::vector<Price> prices;
  std::vector<FluidLeaf> costs;
  for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
    prices.push_back(price(*graph.leaves[i], graph.exchanges[i]));
    costs.push_back(fluid_leaf(*graph.leaves[i], prices.back()));
  }
  FluidEngine engine;
  Timeline timeline;
  timeline.total = Picoseconds(engine.run(graph, costs, true));
  TimeParts parts;
  for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
    const Leaf& leaf = *graph.leaves[i];
    const LeafTime& time = engine.times()[i];
    add_imbalance(timeline, graph.exchanges[i], parts.add_alone(leaf, prices[i], time.alone));
    parts.add({leaf.layer_kind, leaf.pass, "contention", time.contended});
  }
  timeline.parts = parts.take();
  for (const FluidInterval& interval : engine.intervals()) {
    timeline.intervals.push_back({graph.leaves[static_cast<std::size_t>(interval.leaf)],
                                  Picoseconds(interval.start), Picoseconds(interval.end)});
  }
  return timeline;
}

}  // namespace meshsim
