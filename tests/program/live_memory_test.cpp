// Live memory of small programs: by hand, and against a walk over the unrolled program.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "program/live_memory.hpp"

using namespace meshsim;

namespace {

Leaf touching(std::vector<BufferId> reads, std::vector<BufferId> writes) {
  Leaf leaf;
  leaf.name = "op";
  leaf.layer_kind = "x";
  leaf.work = Compute{};
  leaf.reads = std::move(reads);
  leaf.writes = std::move(writes);
  return leaf;
}

ProgramNode op(std::vector<BufferId> reads, std::vector<BufferId> writes) {
  return leaf_node(touching(std::move(reads), std::move(writes)));
}

// Buffers of these sizes, named by their index; categories "even" and "odd".
StepProgram program_of(ProgramNode root, const std::vector<std::int64_t>& sizes) {
  StepProgram program;
  program.root = std::move(root);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    program.buffers.push_back({std::to_string(i), i % 2 == 0 ? "even" : "odd", Bytes(sizes[i])});
  return program;
}

std::vector<std::int64_t> live(const StepProgram& program) {
  std::vector<std::int64_t> bytes;
  for (const MemoryPoint& point : live_memory(program)) bytes.push_back(point.temp.value());
  return bytes;
}

using List = std::vector<std::int64_t>;

// The unrolled program as a list of steps that each use some buffers. What runs beside something
// holds its buffers from the start to the end of the Parallel.
struct Step {
  int leaf = -1;  // in tree order; -1: the edge of a Parallel
  std::vector<BufferId> reads, writes;
};

// What `node` takes over from before, and what it touches at all.
void beside_uses(const ProgramNode& node, Step& start, Step& end) {
  for (const BufferId id : node.leaf.reads) start.reads.push_back(id);
  for (const BufferId id : node.leaf.writes) start.writes.push_back(id);
  for (const auto* ids : {&node.leaf.reads, &node.leaf.writes})
    end.reads.insert(end.reads.end(), ids->begin(), ids->end());
  for (const ProgramNode& child : node.children) beside_uses(child, start, end);
}

void unroll(const ProgramNode& node, int first, std::vector<Step>& steps);

int count_leaves(const ProgramNode& node) {
  int count = node.kind == ProgramNode::Kind::leaf ? 1 : 0;
  for (const ProgramNode& child : node.children) count += count_leaves(child);
  return count;
}

void unroll_children(const ProgramNode& node, int first, std::vector<Step>& steps) {
  for (const ProgramNode& child : node.children) {
    unroll(child, first, steps);
    first += count_leaves(child);
  }
}

void unroll(const ProgramNode& node, int first, std::vector<Step>& steps) {
  switch (node.kind) {
    case ProgramNode::Kind::leaf:
      steps.push_back({first, node.leaf.reads, node.leaf.writes});
      return;
    case ProgramNode::Kind::sequence: unroll_children(node, first, steps); return;
    case ProgramNode::Kind::repeat:
      for (std::int64_t i = 0; i < node.times; ++i) unroll_children(node, first, steps);
      return;
    case ProgramNode::Kind::parallel: {
      Step start;
      Step end;
      for (std::size_t i = 1; i < node.children.size(); ++i)
        beside_uses(node.children[i], start, end);
      steps.push_back(start);
      unroll(node.children.front(), first, steps);
      first += count_leaves(node.children.front());
      const std::size_t beside = steps.size();
      for (std::size_t i = 1; i < node.children.size(); ++i) {
        unroll(node.children[i], first, steps);
        first += count_leaves(node.children[i]);
      }
      // What they write has been there since the start.
      for (std::size_t i = beside; i < steps.size(); ++i) {
        auto& [leaf, reads, writes] = steps[i];
        reads.insert(reads.end(), writes.begin(), writes.end());
        writes.clear();
      }
      steps.push_back(end);
      return;
    }
  }
}

// A value is born where it is written and dies at its last read before it is written anew. Returns
// the most bytes that each leaf ever meets.
List walk(const StepProgram& program) {
  std::vector<Step> steps;
  unroll(program.root, 0, steps);
  List most(static_cast<std::size_t>(count_leaves(program.root)), 0);
  for (std::size_t at = 0; at < steps.size(); ++at) {
    if (steps[at].leaf < 0) continue;
    std::int64_t bytes = 0;
    for (std::size_t b = 0; b < program.buffers.size(); ++b) {
      const auto id = static_cast<BufferId>(b);
      const auto in = [&](const std::vector<BufferId>& ids) {
        return std::find(ids.begin(), ids.end(), id) != ids.end();
      };
      const auto touches = [&](const Step& step) { return in(step.reads) || in(step.writes); };
      bool before = false;
      for (std::size_t i = 0; i < at; ++i) before = before || touches(steps[i]);
      bool read_after = false;
      for (std::size_t i = at + 1; i < steps.size() && !read_after; ++i) {
        if (in(steps[i].reads))
          read_after = true;
        else if (in(steps[i].writes))
          break;
      }
      if (touches(steps[at]) || (before && read_after)) bytes += program.buffers[b].bytes.value();
    }
    auto& slot = most[static_cast<std::size_t>(steps[at].leaf)];
    slot = std::max(slot, bytes);
  }
  return most;
}

// Random trees. `carried`: leaves may touch any buffer; otherwise each buffer belongs to one
// sequence, is written there first and read there later, so that no repeat hands it on.
class RandomPrograms {
 public:
  RandomPrograms(unsigned seed, bool carried) : random_(seed), carried_(carried) {}

  StepProgram next() {
    sizes_.assign(carried_ ? 6 : 0, 0);
    for (std::int64_t& size : sizes_) size = pick(1, 50);
    ProgramNode root = tree(3);
    // What is read before it is written has been written by something before.
    std::vector<BufferId> given;
    std::set<BufferId> written;
    std::vector<Step> steps;
    unroll(root, 0, steps);
    for (const Step& step : steps) {
      for (const BufferId id : step.reads) {
        if (written.insert(id).second) given.push_back(id);
      }
      written.insert(step.writes.begin(), step.writes.end());
    }
    return program_of(sequence({op({}, given), std::move(root)}), sizes_);
  }

 private:
  int pick(int low, int high) {
    return low + static_cast<int>(random_() % static_cast<unsigned>(high - low + 1));
  }

  BufferId fresh() {
    sizes_.push_back(pick(1, 50));
    return static_cast<BufferId>(sizes_.size()) - 1;
  }

  ProgramNode any_op() {
    std::vector<BufferId> reads;
    std::vector<BufferId> writes;
    for (int i = pick(0, 2); i > 0; --i) reads.push_back(pick(0, 5));
    for (int i = pick(0, 2); i > 0; --i) writes.push_back(pick(0, 5));
    return op(reads, writes);
  }

  ProgramNode tree(int depth) {
    std::vector<ProgramNode> children;
    std::vector<BufferId> own;
    for (int i = pick(1, 4); i > 0; --i) {
      const int what = depth == 0 ? 0 : pick(0, 3);
      if (what == 1) {
        children.push_back(repeat(pick(2, 3), tree(depth - 1)));
      } else if (what == 2) {
        children.push_back(parallel(tree(depth - 1), {carried_ ? any_op() : op({}, {fresh()})}));
      } else if (carried_) {
        children.push_back(any_op());
      } else {
        std::vector<BufferId> reads;
        for (const BufferId id : own) {
          if (pick(0, 1) == 1) reads.push_back(id);
        }
        own.push_back(fresh());
        children.push_back(op(reads, {own.back()}));
      }
    }
    return sequence(std::move(children));
  }

  std::mt19937 random_;
  bool carried_;
  List sizes_;
};

}  // namespace

TEST_CASE("a chain holds an operation's input and output", "[program][memory]") {
  // 0 -> 1 -> 2 with 10, 20, 5 bytes: 10; 10 + 20; 20 + 5.
  const StepProgram chain =
      program_of(sequence({op({}, {0}), op({0}, {1}), op({1}, {2})}), {10, 20, 5});
  CHECK(live(chain) == List{10, 30, 25});
  const MemoryPeak peak = memory_peak(chain);
  CHECK(peak.temp == Bytes(30));
  CHECK(peak.at == "x forward op");
  CHECK(peak.categories ==
        std::vector<std::pair<std::string, Bytes>>{{"even", Bytes(10)}, {"odd", Bytes(20)}});
  CHECK(peak.largest.front().bytes == Bytes(20));
}

TEST_CASE("forward and backward of two layers keep what backward reads", "[program][memory]") {
  // Forward writes residuals 0 (7) and 1 (7); backward reads them in reverse, each with a gradient
  // (2, 3: 4 bytes). 7; 14; 14 + 4; 7 + 4 + 4 (residual 1 is gone).
  const StepProgram step = program_of(
      sequence({op({}, {0}), op({0}, {1}), op({1}, {2}), op({0, 2}, {3})}), {7, 7, 4, 4});
  CHECK(live(step) == List{7, 14, 18, 15});
}

TEST_CASE("a body's own buffers count once, carried and stacked ones throughout",
          "[program][memory]") {
  // Stream 0 (10) enters the scan and leaves it; 1 (3) is the body's own; 2 (100) stacks inputs
  // that are read after it.
  const StepProgram scan = program_of(
      sequence({op({}, {0}), repeat(4, sequence({op({0}, {2}), op({0}, {1}), op({1}, {0})})),
                op({0}, {}), op({2}, {})}),
      {10, 3, 100});
  // before: 10; body: 110, 110 + 3, 110 + 3; after: 110; 100.
  CHECK(live(scan) == List{10, 110, 113, 113, 110, 100});
}

TEST_CASE("what a collective beside the main operations touches lives through them",
          "[program][memory]") {
  // Main: 0 (5) then 1 (5). Beside: a gather into 2 (40), read later.
  const StepProgram program = program_of(
      sequence({op({}, {0}), parallel(sequence({op({0}, {1}), op({1}, {3})}), {op({}, {2})}),
                op({2, 3}, {})}),
      {5, 5, 40, 1});
  // 5; 5 + 5 + 40; 5 + 1 + 40; beside: 1 + 40 (the main branch has ended); 41.
  CHECK(live(program) == List{5, 50, 46, 41, 41});
}

TEST_CASE("lifetimes extend through nested repeats and parallels", "[program][memory]") {
  // 0 (8) begins before two nested scans and is read in the inner one; 1 (16) is written in the
  // inner one and read after both; 2 (2) is the inner body's own.
  const StepProgram nested = program_of(
      sequence({op({}, {0}),
                repeat(2, sequence({op({}, {}), repeat(3, sequence({op({0}, {2}), op({2}, {1})})),
                                    op({}, {})})),
                op({1}, {})}),
      {8, 16, 2});
  CHECK(live(nested) == List{8, 24, 26, 26, 24, 16});
  // A scan in the main branch of a Parallel, beside which 0 is used: all of it.
  const StepProgram beside =
      program_of(sequence({parallel(repeat(2, sequence({op({}, {1}), op({1}, {})})), {op({}, {0})}),
                           op({}, {})}),
                 {8, 16});
  CHECK(live(beside) == List{24, 24, 8, 0});
}

TEST_CASE("an empty program needs nothing", "[program][memory]") {
  const StepProgram empty = program_of(sequence({repeat(0, op({}, {0}))}), {5});
  CHECK(memory_peak(empty).temp == Bytes(0));
  CHECK(live_memory(empty).empty());
}

TEST_CASE("memory equals a walk over the unrolled program if no repeat carries anything",
          "[program][memory]") {
  RandomPrograms programs(20261121, false);
  int repeats = 0;
  for (int i = 0; i < 400; ++i) {
    const StepProgram program = programs.next();
    const List expected = walk(program);
    REQUIRE(live(program) == expected);
    if (memory_peak(program).temp.value() > 0) ++repeats;
  }
  CHECK(repeats > 300);
}

TEST_CASE("memory is never less than what a walk over the unrolled program meets",
          "[program][memory]") {
  RandomPrograms programs(7, true);
  int larger = 0;
  for (int i = 0; i < 600; ++i) {
    const StepProgram program = programs.next();
    const List lower = walk(program);
    const List upper = live(program);
    REQUIRE(upper.size() == lower.size());
    std::int64_t all = 0;
    for (const Buffer& buffer : program.buffers) all += buffer.bytes.value();
    for (std::size_t at = 0; at < upper.size(); ++at) {
      REQUIRE(upper[at] >= lower[at]);
      REQUIRE(upper[at] <= all);
    }
    const MemoryPeak peak = memory_peak(program);
    Bytes categories;
    for (const auto& [name, bytes] : peak.categories) categories += bytes;
    REQUIRE(categories == peak.temp);
    if (upper != lower) ++larger;
  }
  CHECK(larger > 0);  // a region is reserved from its first to its last use, gaps included
}
