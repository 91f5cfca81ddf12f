#include "sim/event_engine.hpp"

#include <utility>

#include "sim/activity_graph.hpp"
#include "sim/fluid.hpp"
#include "sim/step_walk.hpp"

namespace meshsim {
namespace {

// Times of all runs of a leaf are added up, and split into causes then.
class EventWalk : private StepWalk {
 public:
  EventWalk(RoutedPrices& prices, std::int64_t cap) : StepWalk(prices, cap) {}

  Timeline run(const ProgramNode& root, std::int32_t exchange_offset) {
    timeline_.total = walk(root, exchange_offset);
    for (const Sum& sum : sums_) split(*sum.leaf, sum.exchange, sum.price, sum.time);
    timeline_.parts = parts_.take();
    return std::move(timeline_);
  }

 private:
  // Of a leaf that is met again and again, under one exchange.
  struct Sum {
    const Leaf* leaf = nullptr;
    std::int32_t exchange = -1;
    Price price;
    LeafTime time;
  };

  void spent(const Spent& one) override {
    const LeafTime time{one.time.alone * one.times, one.time.contended * one.times};
    if (one.all || one.exchange >= 0) {
      split(one.leaf, one.exchange, one.price, time);
      return;
    }
    constexpr std::size_t none = ~std::size_t{0};
    if (latest_.size() <= one.number) latest_.resize(one.number + 1, none);
    std::size_t& at = latest_[one.number];
    if (at == none) {
      at = sums_.size();
      sums_.push_back({&one.leaf, one.exchange, one.price, {}});
    }
    sums_[at].time.alone += time.alone;
    sums_[at].time.contended += time.contended;
  }

  void split(const Leaf& leaf, std::int32_t exchange, const Price& price, const LeafTime& time) {
    timeline_.add_imbalance(exchange, parts_.add_alone(leaf, price, time.alone));
    parts_.add_contention(leaf, time.contended);
  }

  Timeline timeline_;
  TimeParts parts_;
  std::vector<Sum> sums_;
  std::vector<std::size_t> latest_;  // of each leaf of the tree, in sums_
};

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

Timeline simulate_events(const ProgramNode& node, RoutedPrices& prices,
                         std::int32_t exchange_offset, std::int64_t event_cap) {
  return EventWalk(prices, event_cap).run(node, exchange_offset);
}

Timeline simulate_unrolled(const StepProgram& program, const Machine& machine,
                           std::int64_t event_cap) {
  RoutedPrices price(program.loads.get(), machine);
  const ActivityGraph graph = activity_graph(program.root, event_cap);
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
    timeline.add_imbalance(graph.exchanges[i], parts.add_alone(leaf, prices[i], time.alone));
    parts.add_contention(leaf, time.contended);
  }
  timeline.parts = parts.take();
  for (const FluidInterval& interval : engine.intervals()) {
    timeline.intervals.push_back({graph.leaves[static_cast<std::size_t>(interval.leaf)],
                                  Picoseconds(interval.start), Picoseconds(interval.end)});
  }
  return timeline;
}

}  // namespace meshsim
