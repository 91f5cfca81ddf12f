#include "sim/closed_form.hpp"

#include <algorithm>
#include <utility>

#include "sim/event_engine.hpp"

namespace meshsim {
namespace {

class ClosedForm {
 public:
  ClosedForm(const ExpertLoads* loads, const Machine& machine) : prices_(loads, machine) {}

  Timeline run(const ProgramNode& root) {
    timeline_.total = add(root, 1, 0);
    timeline_.parts = parts_.take();
    return std::move(timeline_);
  }

 private:
  // The time of `node`, its parts counted `times` times, its exchanges `offset` further than they
  // say.
  Picoseconds add(const ProgramNode& node, std::int64_t times, std::int32_t offset) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: return add(node.leaf, times, offset);
      case ProgramNode::Kind::sequence: {
        Picoseconds total;
        for (const ProgramNode& child : node.children) total += add(child, times, offset);
        return total;
      }
      case ProgramNode::Kind::repeat: {
        if (node.exchange_stride == 0)
          return add(node.children.front(), times * node.times, offset) * node.times;
        // Every repeat has loads of its own.
        Picoseconds total;
        for (std::int64_t i = 0; i < node.times; ++i) {
          total += add(node.children.front(), times,
                       offset + static_cast<std::int32_t>(i) * node.exchange_stride);
        }
        return total;
      }
      case ProgramNode::Kind::parallel: {
        const Timeline alone = simulate_events(node, prices_, offset);
        for (const TimePart& part : alone.parts) parts_.add(part, times);
        for (std::size_t i = 0; i < alone.imbalance.size(); ++i)
          add_imbalance(static_cast<std::int32_t>(i), alone.imbalance[i] * times);
        return alone.total;
      }
    }
    return {};
  }

  Picoseconds add(const Leaf& leaf, std::int64_t times, std::int32_t offset) {
    const std::int32_t exchange = RoutedPrices::exchange_of(leaf, offset);
    const Price cost = prices_(leaf, exchange);
    add_imbalance(exchange, parts_.add_alone(leaf, cost, cost.duration, times) * times);
    return cost.duration;
  }

  void add_imbalance(std::int32_t exchange, Picoseconds time) {
    if (exchange < 0 || time.value() == 0) return;
    timeline_.imbalance.resize(
        std::max(timeline_.imbalance.size(), static_cast<std::size_t>(exchange) + 1));
    timeline_.imbalance[static_cast<std::size_t>(exchange)] += time;
  }

  RoutedPrices prices_;
  Timeline timeline_;
  TimeParts parts_;
};

}  // namespace

Timeline closed_form(const StepProgram& program, const Machine& machine) {
  return ClosedForm(program.loads.get(), machine).run(program.root);
}

Timeline closed_form(const ProgramNode& node, const Machine& machine) {
  return ClosedForm(nullptr, machine).run(node);
}

}  // namespace meshsim
