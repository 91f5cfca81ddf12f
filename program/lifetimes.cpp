#include "program/lifetimes.hpp"

#include <algorithm>
#include <utility>

namespace meshsim {

Lifetimes::Lifetimes(const StepProgram& program, Spares spares)
    : spares_(spares), ranges_(program.buffers.size()) {
  visit(program.root);
  // What a Repeat or Parallel uses together with the outside lives through all of it.
  // Inner spans come first, so that an extension reaches the outer ones.
  for (const Span& span : spans_) {
    for (const BufferId id : span.uses) {
      LifeRange& range = ranges_[static_cast<std::size_t>(id)];
      const bool begins_before = range.first < span.begin;
      const bool used_after = range.last > span.end;
      if (span.whole || begins_before) range.extend(span.end);
      if (span.whole || used_after) range.extend(span.begin);
    }
  }
}

void Lifetimes::use(BufferId id, int index, std::vector<BufferId>& uses) {
  ranges_[static_cast<std::size_t>(id)].extend(index);
  uses.push_back(id);
}

std::vector<BufferId> Lifetimes::visit(const ProgramNode& node) {
  std::vector<BufferId> uses;
  const int begin = static_cast<int>(leaves_.size());
  if (node.kind == ProgramNode::Kind::leaf) {
    leaves_.push_back(&node.leaf);
    for (const BufferId id : node.leaf.reads) use(id, begin, uses);
    for (const BufferId id : node.leaf.writes) use(id, begin, uses);
    if (spares_ == Spares::kept)
      for (const BufferId id : node.leaf.spares) use(id, begin, uses);
    return uses;
  }
  std::vector<BufferId> beside;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    std::vector<BufferId> inner = visit(node.children[i]);
    if (node.kind == ProgramNode::Kind::parallel && i > 0)
      beside.insert(beside.end(), inner.begin(), inner.end());
    uses.insert(uses.end(), inner.begin(), inner.end());
  }
  std::sort(uses.begin(), uses.end());
  uses.erase(std::unique(uses.begin(), uses.end()), uses.end());
  const int end = static_cast<int>(leaves_.size()) - 1;
  if (end < begin) return uses;
  if (node.kind == ProgramNode::Kind::repeat) spans_.push_back({begin, end, false, uses});
  if (!beside.empty()) spans_.push_back({begin, end, true, std::move(beside)});
  return uses;
}

}  // namespace meshsim
