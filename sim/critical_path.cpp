#include "sim/critical_path.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "cost_models/routed_prices.hpp"
#include "sim/activity_graph.hpp"
#include "sim/event_engine.hpp"
#include "sim/fluid.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// The slowest of its resources. A transfer that holds the TensorCore holds it for as long as its
// links need: the links are what is slow.
std::string bound_of(const Leaf& leaf, const Price& price) {
  if (price.bound == Bound::latency) return "latency";
  const bool on_core = std::holds_alternative<Compute>(leaf.work);
  const auto first = price.times.begin() + (on_core ? tensor_core : hbm);
  const auto slowest =
      static_cast<std::size_t>(std::max_element(first, price.times.end()) - price.times.begin());
  return slowest >= ici_0 && slowest <= ici_3 ? "ici" : std::string(name(Resource(slowest)));
}

class PathWalk {
 public:
  PathWalk(const ExpertLoads* loads, const Machine& machine) : prices_(loads, machine) {}

  // As a step is solved (sim/step_walk.hpp); the exchanges of `node` are `offset` further than they
  // say.
  void walk(const ProgramNode& node, std::int64_t times, std::int32_t offset) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: {
        const Price cost = prices_(node.leaf, RoutedPrices::exchange_of(node.leaf, offset));
        add(node.leaf, cost, cost.duration, times);
        return;
      }
      case ProgramNode::Kind::sequence:
        for (const ProgramNode& child : node.children) walk(child, times, offset);
        return;
      case ProgramNode::Kind::repeat:
        if (node.exchange_stride == 0) {
          walk(node.children.front(), times * node.times, offset);
          return;
        }
        for (std::int64_t i = 0; i < node.times; ++i)
          walk(node.children.front(), times,
               offset + static_cast<std::int32_t>(i) * node.exchange_stride);
        return;
      case ProgramNode::Kind::parallel: trace(node, times, offset); return;
    }
  }

  // A Parallel, from its end back to its start.
  void trace(const ProgramNode& node, std::int64_t times, std::int32_t offset) {
    const ActivityGraph graph = activity_graph(node, default_event_cap, offset);
    if (graph.activities.empty()) return;
    std::vector<Price> prices;
    std::vector<FluidLeaf> costs;
    for (std::size_t i = 0; i < graph.leaves.size(); ++i) {
      prices.push_back(prices_(*graph.leaves[i], graph.exchanges[i]));
      costs.push_back(fluid_leaf(*graph.leaves[i], prices.back()));
    }
    FluidEngine engine;
    const std::int64_t total = engine.run(graph, costs, true);
    const std::vector<Span> spans = spans_of(graph, engine.intervals());
    const Predecessors before(graph);
    auto at = static_cast<ActivityId>(
        std::find_if(spans.begin(), spans.end(), [&](const Span& s) { return s.end == total; }) -
        spans.begin());
    for (;;) {
      const Span& span = spans[static_cast<std::size_t>(at)];
      const std::int32_t leaf = graph.activities[static_cast<std::size_t>(at)].leaf;
      if (leaf != ActivityGraph::join) {
        const auto index = static_cast<std::size_t>(leaf);
        add(*graph.leaves[index], prices[index], Picoseconds(span.end - span.start), times);
      }
      if (span.start == 0) return;
      at = before.that_ended(at, span.start, spans);
    }
  }

  std::vector<PathOperation> take() {
    std::vector<PathOperation> all;
    for (auto& [key, operation] : operations_) all.push_back(std::move(operation));
    std::stable_sort(all.begin(), all.end(), [](const PathOperation& a, const PathOperation& b) {
      return a.time > b.time;
    });
    return all;
  }

 private:
  struct Span {
    std::int64_t start = 0, end = 0;
  };

  // The edges of a graph, the other way round.
  class Predecessors {
   public:
    explicit Predecessors(const ActivityGraph& graph) : first_(graph.activities.size() + 1, 0) {
      for (const ActivityId to : graph.successors) ++first_[static_cast<std::size_t>(to) + 1];
      for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
      std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
      all_.resize(graph.successors.size());
      for (std::size_t from = 0; from < graph.activities.size(); ++from) {
        for (const ActivityId to : graph.after(static_cast<ActivityId>(from)))
          all_[next[static_cast<std::size_t>(to)]++] = static_cast<ActivityId>(from);
      }
    }

    // The first of those of `at` that ended at `time`: what `at` waited for.
    ActivityId that_ended(ActivityId at, std::int64_t time, const std::vector<Span>& spans) const {
      const auto index = static_cast<std::size_t>(at);
      for (std::size_t i = first_[index]; i < first_[index + 1]; ++i) {
        if (spans[static_cast<std::size_t>(all_[i])].end == time) return all_[i];
      }
      throw Error(ErrorKind::internal, "an operation started before what it waits for had ended");
    }

   private:
    std::vector<std::size_t> first_;
    std::vector<ActivityId> all_;
  };

  // A join starts and ends with the last activity that it waits for; all of those come before it.
  static std::vector<Span> spans_of(const ActivityGraph& graph,
                                    std::span<const FluidInterval> intervals) {
    std::vector<Span> spans(graph.activities.size());
    for (const FluidInterval& one : intervals)
      spans[static_cast<std::size_t>(one.activity)] = {one.start, one.end};
    for (std::size_t i = 0; i < spans.size(); ++i) {
      for (const ActivityId next : graph.after(static_cast<ActivityId>(i))) {
        const auto to = static_cast<std::size_t>(next);
        if (graph.activities[to].leaf != ActivityGraph::join) continue;
        spans[to].end = std::max(spans[to].end, spans[i].end);
        spans[to].start = spans[to].end;
      }
    }
    return spans;
  }

  void add(const Leaf& leaf, const Price& price, Picoseconds time, std::int64_t times) {
    if (time.value() == 0) return;
    std::string bound = bound_of(leaf, price);
    PathOperation& sum = operations_[{leaf.name, leaf.layer_kind, leaf.pass, bound}];
    sum.name = leaf.name;
    sum.layer_kind = leaf.layer_kind;
    sum.pass = leaf.pass;
    sum.bound = std::move(bound);
    sum.count += times;
    sum.time += time * times;
    sum.slowed += (time - price.duration) * times;
  }

  RoutedPrices prices_;
  std::map<std::tuple<std::string, std::string, Pass, std::string>, PathOperation> operations_;
};

}  // namespace

std::vector<PathOperation> critical_path(const StepProgram& program, const Machine& machine) {
  PathWalk path(program.loads.get(), machine);
  path.walk(program.root, 1, 0);
  return path.take();
}

}  // namespace meshsim
