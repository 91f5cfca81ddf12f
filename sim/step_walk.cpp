#include "sim/step_walk.hpp"

#include <utility>

namespace meshsim {
namespace {

// The entry of `number`, which may be new.
template <class T>
std::unique_ptr<T>& entry(std::vector<std::unique_ptr<T>>& all, std::size_t number) {
  if (all.size() <= number) all.resize(number + 1);
  return all[number];
}

}  // namespace

Picoseconds StepWalk::walk(const ProgramNode& root, std::int32_t offset) {
  leaf_prices_.clear();
  solutions_.clear();
  Place place;
  return add(root, 1, offset, place);
}

// `node` runs `times` times; `place` is that of its first leaf, and then of what follows it.
Picoseconds StepWalk::add(const ProgramNode& node, std::int64_t times, std::int32_t offset,
                          Place& place) {
  switch (node.kind) {
    case ProgramNode::Kind::leaf: return add_leaf(node.leaf, times, offset, place);
    case ProgramNode::Kind::sequence: {
      Picoseconds total;
      for (const ProgramNode& child : node.children) total += add(child, times, offset, place);
      return total;
    }
    case ProgramNode::Kind::repeat:
      if (node.exchange_stride != 0) return add_strides(node, times, offset, place);
      return add(node.children.front(), times * node.times, offset, place) * node.times;
    case ProgramNode::Kind::parallel: return add_parallel(node, times, offset, place);
  }
  return {};
}

Picoseconds StepWalk::add_leaf(const Leaf& leaf, std::int64_t times, std::int32_t offset,
                               Place& place) {
  const std::size_t number = place.leaf++;
  const std::int32_t exchange = RoutedPrices::exchange_of(leaf, offset);
  if (strides_ == 0 || exchange >= 0) {
    const Price price = prices_(leaf, exchange);
    spent({leaf, number, strides_ == 0, exchange, price, {price.duration, {}}, times});
    return price.duration;
  }
  std::unique_ptr<Price>& price = entry(leaf_prices_, number);
  if (!price) price = std::make_unique<Price>(prices_(leaf, exchange));
  spent({leaf, number, false, exchange, *price, {price->duration, {}}, times});
  return price->duration;
}

// Every repeat has loads of its own.
Picoseconds StepWalk::add_strides(const ProgramNode& node, std::int64_t times, std::int32_t offset,
                                  Place& place) {
  Picoseconds total;
  const Place first = place;
  ++strides_;
  for (std::int64_t i = 0; i < node.times; ++i) {
    place = first;
    total += add(node.children.front(), times,
                 offset + static_cast<std::int32_t>(i) * node.exchange_stride, place);
  }
  --strides_;
  return total;
}

Picoseconds StepWalk::add_parallel(const ProgramNode& node, std::int64_t times, std::int32_t offset,
                                   Place& place) {
  const std::size_t number = place.parallel++;
  Solution* solution = &latest_;
  bool first = true;
  if (strides_ > 0) {
    std::unique_ptr<Solution>& known = entry(solutions_, number);
    first = known == nullptr;
    if (first) known = std::make_unique<Solution>();
    solution = known.get();
  }
  if (first) unrolling_.run(node, cap_, offset, solution->graph);
  if (first || solution->follows_routing) solve(offset, first, *solution);
  const ActivityGraph& graph = solution->graph;
  for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
    spent({*graph.leaves[i], place.leaf + graph.numbers[i], strides_ == 0,
           graph.exchange(i, offset), solution->prices[i], solution->times[i], times});
  }
  place.leaf += graph.tree_leaves;
  return solution->total;
}

// `first`: else all of it is known, but for another offset.
void StepWalk::solve(std::int32_t offset, bool first, Solution& solution) {
  const ActivityGraph& graph = solution.graph;
  solution.prices.resize(graph.leaves.size());
  costs_.resize(graph.leaves.size());
  for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
    const std::int32_t exchange = graph.exchange(i, offset);
    solution.follows_routing = solution.follows_routing || exchange >= 0;
    if (first || exchange >= 0) solution.prices[i] = prices_(*graph.leaves[i], exchange);
    costs_[i] = fluid_leaf(*graph.leaves[i], solution.prices[i]);
  }
  solution.total = Picoseconds(engine_.run(graph, costs_));
  solution.times.assign(engine_.times().begin(), engine_.times().end());
}

}  // namespace meshsim
