#include "sim/block_solver.hpp"

#include <algorithm>

#include "sim/event_engine.hpp"

namespace meshsim {

CauseNames::CauseNames() {
  for (std::size_t cause = 0; cause <= core_cause_count; ++cause) number(core_cause_name(cause));
  number("contention");
  number("bubble");
}

std::size_t CauseNames::number(Name cause) {
  const auto known = std::find(names_.begin(), names_.end(), cause);
  if (known != names_.end()) return static_cast<std::size_t>(known - names_.begin());
  names_.push_back(cause);
  const auto after = std::find_if(sorted_.begin(), sorted_.end(),
                                  [&](std::size_t one) { return cause < names_[one]; });
  sorted_.insert(after, names_.size() - 1);
  return names_.size() - 1;
}

void BlockTime::add(std::size_t cause, Picoseconds part) {
  if (part.value() == 0) return;
  for (auto& [known, sum] : causes) {
    if (known != cause) continue;
    sum += part;
    return;
  }
  causes.emplace_back(cause, part);
}

void BlockTime::add(const BlockTime& other, std::int64_t times) {
  total += other.total * times;
  model_flops += other.model_flops * times;
  for (const auto& [cause, part] : other.causes) add(cause, part * times);
}

SolvableBlock::SolvableBlock(std::vector<ProgramNode> nodes, CauseNames& causes)
    : nodes_(std::move(nodes)) {
  for (ProgramNode& node : nodes_) {
    Part& part = parts_.emplace_back();
    part.alone = node.kind == ProgramNode::Kind::leaf;
    if (!part.alone) part.graph = activity_graph(node, default_event_cap);
    for_each_leaf(node, [&](const Leaf& leaf, std::int64_t times) {
      Item& item = part.items.emplace_back();
      item.leaf = const_cast<Leaf*>(&leaf);  // one of nodes_
      item.times = times;
      item.slot = leaf.source.slot;
      item.op = leaf.source.op;
      item.on_core = std::holds_alternative<Compute>(leaf.work);
      item.model_flops = leaf.pass == Pass::forward || leaf.pass == Pass::backward;
      item.cause = leaf.idle      ? CauseNames::bubble
                   : item.on_core ? core
                                  : causes.number(transfer_cause(leaf));
    });
  }
}

// With the numbers at hand, which go to the leaf only where no template has them. Adds the leaf's
// FLOPs of the mathematics to `model_flops`.
Price SolvableBlock::price_of(const Item& item, const StepWork& work,
                              std::span<const std::int64_t> numbers, const Machine& machine,
                              FlopCount& model_flops) {
  const auto count = [&](const auto& one) {
    if constexpr (std::is_same_v<std::decay_t<decltype(one)>, Compute>) {
      if (item.model_flops) model_flops += one.model_flops * item.times;
    }
    return price(one, machine);
  };
  if (item.slot >= 0)
    return std::visit(
        count, (*work[static_cast<std::size_t>(item.slot)])[static_cast<std::size_t>(item.op)]);
  renumber_bytes(*item.leaf, numbers);
  return std::visit(count, item.leaf->work);
}

void SolvableBlock::run(const StepWork& work, std::span<const std::int64_t> numbers,
                        const Machine& machine, BlockSolver& solver) {
  BlockRun& run = solver.run;
  run.total = {};
  run.model_flops = {};
  run.parts.clear();
  for (const Part& part : parts_) {
    const std::size_t first = run.parts.size();
    solver.costs.clear();
    for (const Item& item : part.items) {
      BlockRun::Part& done = run.parts.emplace_back();
      done.cause = item.cause;
      done.price = price_of(item, work, numbers, machine, run.model_flops);
      done.time = {done.price.duration, {}};
      if (!part.alone) solver.costs.push_back(fluid_leaf(item.on_core, done.price));
    }
    if (part.alone) {
      run.total += run.parts.back().price.duration;
      continue;
    }
    run.total += Picoseconds(solver.engine.run(part.graph, solver.costs));
    for (std::size_t i = 0; i < part.items.size(); ++i)
      run.parts[first + i].time = solver.engine.times()[i];
  }
}

BlockTime SolvableBlock::solve(const StepWork& work, std::span<const std::int64_t> numbers,
                               const Machine& machine, BlockSolver& solver) {
  run(work, numbers, machine, solver);
  BlockTime time;
  time.total = solver.run.total;
  time.model_flops = solver.run.model_flops;
  solver.run.split(1, [&](std::size_t cause, Picoseconds part) { time.add(cause, part); });
  return time;
}

}  // namespace meshsim
