// Branches of a Parallel that hand work to each other: gather, multiply, scatter, chunk by chunk.
#include <algorithm>
#include <catch2/catch.hpp>

#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "tests/refusal.hpp"
#include "tests/sim/toy_programs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Two mesh axes on links of their own; HBM and hops cost nothing, so that nothing is contended.
Machine two_axes() {
  Machine machine = links_only({ring(0, 4)});
  machine.mesh_axes.push_back({"expert", {ring(1, 4)}});
  machine.hop_latency = Picoseconds(0);
  return machine;
}

ProgramNode transfer(const char* axis, std::int64_t duration) {
  Leaf leaf;
  leaf.name = "transfer";
  // 3 n ps for 8 n bytes on a ring of 4: payload x 3/4 over two links.
  leaf.work = Collective{CollectiveKind::all_gather, {axis}, 4, Bytes(duration / 3 * 8)};
  return leaf_node(std::move(leaf));
}

ProgramNode marked(ProgramNode node, Mark mark, std::vector<Mark> after) {
  node.leaf.mark = mark;
  node.leaf.after = std::move(after);
  return node;
}

struct Chunk {
  std::int64_t gather, tiles, scatter;
};

// N chunks; `duplex`: gathers and scatters have links of their own, and go side by side.
StepProgram pipeline(std::int64_t n, const Chunk& chunk, bool duplex) {
  const auto gathered = [](std::int64_t c) { return static_cast<Mark>(2 * c + 1); };
  const auto multiplied = [](std::int64_t c) { return static_cast<Mark>(2 * c + 2); };
  std::vector<ProgramNode> core;
  std::vector<ProgramNode> in;
  std::vector<ProgramNode> out;
  for (std::int64_t c = 0; c < n; ++c) {
    core.push_back(marked(work(chunk.tiles, 0), multiplied(c), {gathered(c)}));
    in.push_back(marked(transfer("fsdp", chunk.gather), gathered(c), {}));
    out.push_back(marked(transfer(duplex ? "expert" : "fsdp", chunk.scatter), 0, {multiplied(c)}));
  }
  if (duplex)
    return program_of(
        parallel(sequence(std::move(core)), {sequence(std::move(in)), sequence(std::move(out))}));
  // One communication engine: gather c + 1 goes before scatter c.
  std::vector<ProgramNode> engine;
  engine.push_back(std::move(in[0]));
  for (std::size_t c = 0; c < out.size(); ++c) {
    if (c + 1 < in.size()) engine.push_back(std::move(in[c + 1]));
    engine.push_back(std::move(out[c]));
  }
  return program_of(parallel(sequence(std::move(core)), {sequence(std::move(engine))}));
}

void check_both(const StepProgram& program, std::int64_t expected) {
  CHECK(closed_form(program, two_axes()).total == Picoseconds(expected));
  CHECK(simulate_events(program, two_axes()).total == Picoseconds(expected));
}

}  // namespace

TEST_CASE("chunks on duplex links take a + m + s + (N - 1) max(a, m, s)", "[sim][pipeline]") {
  for (const Chunk& chunk : {Chunk{300'000, 3, 600'000}, Chunk{900'000, 3, 600'000},
                             Chunk{600'000, 3, 900'000}, Chunk{900'000, 2, 600'000}}) {
    const std::int64_t m = chunk.tiles * tile_time;
    for (const std::int64_t n : {1, 2, 3, 8, 16}) {
      INFO(n << " chunks of " << chunk.gather << ", " << m << ", " << chunk.scatter);
      check_both(
          pipeline(n, chunk, true),
          chunk.gather + m + chunk.scatter + (n - 1) * std::max({chunk.gather, m, chunk.scatter}));
    }
  }
}

TEST_CASE("chunks on one communication engine take a + N m + s where m >= a + s",
          "[sim][pipeline]") {
  const Chunk chunk{300'000, 3, 450'000};  // m = 786,432 ps
  for (const std::int64_t n : {1, 2, 3, 8, 16})
    check_both(pipeline(n, chunk, false), 300'000 + n * 3 * tile_time + 450'000);
}

TEST_CASE("a mark that is not there is not waited for", "[sim][pipeline]") {
  check_both(program_of(parallel(marked(work(2, 0), 0, {7}), {transfer("fsdp", 300'000)})),
             2 * tile_time);
}

TEST_CASE("a repeated pipeline waits for its own repetition", "[sim][pipeline]") {
  // Gather, then multiply, each time.
  const auto once = [] {
    return parallel(marked(work(1, 0), 0, {1}), {marked(transfer("fsdp", 300'000), 1, {})});
  };
  check_both(program_of(repeat(5, once())), 5 * (300'000 + tile_time));
  // Inside another Parallel the inner one is complete by itself.
  check_both(program_of(parallel(repeat(2, once()), {transfer("expert", 600'000)})),
             2 * (300'000 + tile_time));
}

TEST_CASE("branches that wait for each other are an error, not a hang", "[sim][pipeline]") {
  const StepProgram stuck =
      program_of(parallel(marked(work(1, 0), 1, {2}), {marked(transfer("fsdp", 300), 2, {1})}));
  CHECK_THROWS_AS(simulate_events(stuck, two_axes()), Error);
  CHECK_THROWS_AS(closed_form(stuck, two_axes()), Error);
}
