#include "program/renumber.hpp"

#include <algorithm>

#include "units/checked.hpp"

namespace meshsim {
namespace {

bool leaves_traced(const ProgramNode& node, bool inside) {
  if (node.kind == ProgramNode::Kind::leaf) return node.leaf.source.traced;
  if (node.kind == ProgramNode::Kind::repeat && inside && node.counts != RepeatOf::layers)
    return false;
  const bool parallel = inside || node.kind == ProgramNode::Kind::parallel;
  return std::all_of(node.children.begin(), node.children.end(),
                     [&](const ProgramNode& child) { return leaves_traced(child, parallel); });
}

}  // namespace

bool is_traced(const StepProgram& program) {
  return program.traced && program.host.traced() && leaves_traced(program.root, false);
}

Bytes amount_of(std::span<const AmountTerm> terms, std::span<const std::int64_t> numbers) {
  std::int64_t sum = 0;
  for (const AmountTerm& term : terms) {
    const std::int64_t number = numbers[static_cast<std::size_t>(term.number)];
    sum = checked_add(sum, checked_multiply(number, term.times, "bytes"), "bytes");
  }
  return Bytes(sum);
}

TemplateWork work_of(const LayerTemplate& layer) {
  TemplateWork all;
  for (const Stage& stage : layer.stages) {
    for (const auto* ops :
         {&stage.forward, &stage.forward_beside, &stage.backward, &stage.backward_beside}) {
      for (const OpTemplate& op : *ops) all.push_back(op.work);
    }
  }
  return all;
}

void renumber_bytes(Leaf& leaf, std::span<const std::int64_t> numbers) {
  const WorkSource& source = leaf.source;
  const Bytes bytes = amount_of(source.bytes, numbers);
  if (auto* collective = std::get_if<Collective>(&leaf.work)) {
    collective->payload = bytes;
    collective->group = numbers[static_cast<std::size_t>(source.group)];
  } else if (auto* copy = std::get_if<HostCopy>(&leaf.work)) {
    copy->bytes = bytes;
  } else {
    std::get<Compute>(leaf.work).hbm_bytes = bytes;
  }
}

}  // namespace meshsim
