#include "sim/closed_form.hpp"

#include "sim/event_engine.hpp"

namespace meshsim {
namespace {

class ClosedForm {
 public:
  explicit ClosedForm(const Machine& machine) : machine_(machine) {}

  Timeline run(const ProgramNode& root) {
    Timeline timeline;
    timeline.total = add(root, 1);
    timeline.parts = parts_.take();
    return timeline;
  }

 private:
  // The time of `node`, its parts counted `times` times.
  Picoseconds add(const ProgramNode& node, std::int64_t times) {
    switch (node.kind) {
      case ProgramNode::Kind::leaf: return add(node.leaf, times);
      case ProgramNode::Kind::sequence: {
        Picoseconds total;
        for (const ProgramNode& child : node.children) total += add(child, times);
        return total;
      }
      case ProgramNode::Kind::repeat:
        return add(node.children.front(), times * node.times) * node.times;
      case ProgramNode::Kind::parallel: {
        const Timeline alone = simulate_events(node, machine_);
        for (const TimePart& part : alone.parts) parts_.add(part, times);
        return alone.total;
      }
    }
    return {};
  }

  Picoseconds add(const Leaf& leaf, std::int64_t times) {
    const Price cost = price(leaf, machine_);
    parts_.add_alone(leaf, cost, cost.duration, times);
    return cost.duration;
  }

  const Machine& machine_;
  TimeParts parts_;
};

}  // namespace

Timeline closed_form(const StepProgram& program, const Machine& machine) {
  return closed_form(program.root, machine);
}

Timeline closed_form(const ProgramNode& node, const Machine& machine) {
  return ClosedForm(machine).run(node);
}

}  // namespace meshsim
