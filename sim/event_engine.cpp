#include "sim/event_engine.hpp"

#include "sim/activity_graph.hpp"
#include "sim/fluid.hpp"

namespace meshsim {

Timeline simulate_events(const ProgramNode& node, const Machine& machine, std::int64_t event_cap) {
  const ActivityGraph graph = activity_graph(node, event_cap);
  std::vector<Price> prices;
  std::vector<FluidLeaf> costs;
  for (const Leaf* leaf : graph.leaves) {
    prices.push_back(price(*leaf, machine));
    costs.push_back(fluid_leaf(*leaf, prices.back()));
  }
  FluidEngine engine;
  Timeline timeline;
  timeline.total = Picoseconds(engine.run(graph, costs, true));
  TimeParts parts;
  for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
    const Leaf& leaf = *graph.leaves[i];
    const LeafTime& time = engine.times()[i];
    parts.add_alone(leaf, prices[i], time.alone);
    parts.add({leaf.layer_kind, leaf.pass, "contention", time.contended});
  }
  timeline.parts = parts.take();
  for (const FluidInterval& interval : engine.intervals()) {
    timeline.intervals.push_back({graph.leaves[static_cast<std::size_t>(interval.leaf)],
                                  Picoseconds(interval.start), Picoseconds(interval.end)});
  }
  return timeline;
}

Timeline simulate_events(const StepProgram& program, const Machine& machine,
                         std::int64_t event_cap) {
  return simulate_events(program.root, machine, event_cap);
}

}  // namespace meshsim
