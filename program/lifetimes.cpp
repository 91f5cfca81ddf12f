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

void Lifetimes::use(BufferId id, int index) {
  ranges_[static_cast<std::size_t>(id)].extend(index);
  uses_.push_back(id);
}

std::vector<BufferId> Lifetimes::uses_since(std::size_t first) const {
  std::vector<BufferId> uses(uses_.begin() + static_cast<std::ptrdiff_t>(first), uses_.end());
  std::sort(uses.begin(), uses.end());
  uses.erase(std::unique(uses.begin(), uses.end()), uses.end());
  return uses;
}

void Lifetimes::visit(const ProgramNode& node) {
  const int begin = static_cast<int>(leaves_.size());
  if (node.kind == ProgramNode::Kind::leaf) {
    leaves_.push_back(&node.leaf);
    for (const BufferId id : node.leaf.reads) use(id, begin);
    for (const BufferId id : node.leaf.writes) use(id, begin);
    if (spares_ == Spares::kept)
      for (const BufferId id : node.leaf.spares) use(id, begin);
    return;
  }
  const std::size_t first = uses_.size();
  std::size_t beside = first;  // of a Parallel: where the uses of all branches but the first begin
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    visit(node.children[i]);
    if (i == 0) beside = uses_.size();
  }
  const int end = static_cast<int>(leaves_.size()) - 1;
  if (end < begin) return;
  if (node.kind == ProgramNode::Kind::repeat)
    spans_.push_back({begin, end, false, uses_since(first)});
  if (node.kind == ProgramNode::Kind::parallel && beside < uses_.size())
    spans_.push_back({begin, end, true, uses_since(beside)});
}

}  // namespace meshsim
