#include "sim/closed_form.hpp"

#include <algorithm>
#include <utility>

#include "sim/event_engine.hpp"
#include "sim/step_walk.hpp"

namespace meshsim {
namespace {

// Times are split into causes once per body, and multiplied.
class ClosedForm : private StepWalk {
 public:
  explicit ClosedForm(RoutedPrices& prices) : StepWalk(prices, default_event_cap) {}

  Timeline run(const ProgramNode& root) {
    timeline_.total = walk(root);
    timeline_.parts = parts_.take();
    return std::move(timeline_);
  }

 private:
  void spent(const Spent& one) override {
    const Picoseconds waited = parts_.add_alone(one.leaf, one.price, one.time.alone, one.times);
    parts_.add_contention(one.leaf, one.time.contended, one.times);
    timeline_.add_imbalance(one.exchange, waited * one.times);
  }

  Timeline timeline_;
  TimeParts parts_;
};

}  // namespace

Timeline closed_form(const StepProgram& program, const Machine& machine) {
  RoutedPrices prices(program.loads.get(), machine);
  return ClosedForm(prices).run(program.root);
}

Timeline closed_form(const ProgramNode& node, const Machine& machine) {
  RoutedPrices balanced(nullptr, machine);
  return ClosedForm(balanced).run(node);
}

}  // namespace meshsim
