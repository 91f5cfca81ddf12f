#include "program/live_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

namespace meshsim {
namespace {

struct Range {
  int first = std::numeric_limits<int>::max();
  int last = -1;

  void extend(int index) {
    first = std::min(first, index);
    last = std::max(last, index);
  }
  bool used() const { return last >= 0; }
  bool operator==(const Range&) const = default;
};

// Gives every leaf an index and every buffer its range of indices.
class Lifetimes {
 public:
  explicit Lifetimes(const StepProgram& program) : ranges_(program.buffers.size()) {
    visit(program.root);
    // What a Repeat or Parallel uses together with the outside lives through all of it.
    // Inner spans come first, so that an extension reaches the outer ones.
    for (const Span& span : spans_) {
      for (const BufferId id : span.uses) {
        Range& range = ranges_[static_cast<std::size_t>(id)];
        const bool begins_before = range.first < span.begin;
        const bool used_after = range.last > span.end;
        if (span.whole || begins_before) range.extend(span.end);
        if (span.whole || used_after) range.extend(span.begin);
      }
    }
  }

  const std::vector<Range>& ranges() const { return ranges_; }
  const std::vector<const Leaf*>& leaves() const { return leaves_; }

 private:
  struct Span {
    int begin, end;
    bool whole;  // Parallel branches beside the main one: their buffers live through all of it
    std::vector<BufferId> uses;
  };

  void use(BufferId id, int index, std::vector<BufferId>& uses) {
    ranges_[static_cast<std::size_t>(id)].extend(index);
    uses.push_back(id);
  }

  std::vector<BufferId> visit(const ProgramNode& node) {
    std::vector<BufferId> uses;
    const int begin = static_cast<int>(leaves_.size());
    if (node.kind == ProgramNode::Kind::leaf) {
      leaves_.push_back(&node.leaf);
      for (const BufferId id : node.leaf.reads) use(id, begin, uses);
      for (const BufferId id : node.leaf.writes) use(id, begin, uses);
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

  std::vector<Range> ranges_;
  std::vector<const Leaf*> leaves_;
  std::vector<Span> spans_;
};

std::string place(const Leaf& leaf) {
  return fmt::format("{} {} {}", leaf.layer_kind, name(leaf.pass), leaf.name);
}

// Live bytes at every leaf, by differences.
std::vector<Bytes> live_bytes(const StepProgram& program, const Lifetimes& lifetimes) {
  std::vector<std::int64_t> change(lifetimes.leaves().size() + 1, 0);
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const Range& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    change[static_cast<std::size_t>(range.first)] += program.buffers[id].bytes.value();
    change[static_cast<std::size_t>(range.last) + 1] -= program.buffers[id].bytes.value();
  }
  std::vector<Bytes> live;
  Bytes now;
  for (std::size_t i = 0; i < lifetimes.leaves().size(); ++i)
    live.push_back(now += Bytes(change[i]));
  return live;
}

}  // namespace

MemoryPeak memory_peak(const StepProgram& program) {
  const Lifetimes lifetimes(program);
  const std::vector<Bytes> live = live_bytes(program, lifetimes);
  MemoryPeak peak;
  if (live.empty()) return peak;
  const auto at = std::max_element(live.begin(), live.end());
  const int index = static_cast<int>(at - live.begin());
  peak.temp = *at;
  peak.at = place(*lifetimes.leaves()[static_cast<std::size_t>(index)]);
  std::map<std::string, Bytes> categories;
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const Range& range = lifetimes.ranges()[id];
    if (!range.used() || range.first > index || range.last < index) continue;
    categories[program.buffers[id].category] += program.buffers[id].bytes;
    peak.largest.push_back(program.buffers[id]);
  }
  peak.categories.assign(categories.begin(), categories.end());
  std::stable_sort(peak.largest.begin(), peak.largest.end(),
                   [](const Buffer& a, const Buffer& b) { return a.bytes > b.bytes; });
  return peak;
}

std::vector<MemoryPoint> live_memory(const StepProgram& program) {
  const Lifetimes lifetimes(program);
  const std::vector<Bytes> live = live_bytes(program, lifetimes);
  std::vector<MemoryPoint> points;
  for (std::size_t i = 0; i < live.size(); ++i)
    points.push_back({place(*lifetimes.leaves()[i]), live[i]});
  return points;
}

}  // namespace meshsim
