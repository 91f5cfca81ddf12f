// Token chunks of a ring of experts against their closed forms, on links and cores that nothing
// else uses.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "cost_models/machine.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"
#include "tests/sim/toy_programs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Qwen3-30B-A3B has no shared expert: a chunk is a gather, products, a scatter.
Plan plan_in_chunks(std::int64_t n, bool barrier = false) {
  return plan_of(
      job("qwen3-30b-a3b", "v5p-32",
          {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "use_ring_of_experts=true",
           "use_ragged_sort=true", "num_moe_token_chunks=" + std::to_string(n),
           barrier ? "moe_chunk_barrier=true" : "moe_chunk_barrier=false"}));
}

// HBM and hops are free, so that a transfer and a product share nothing.
Machine uncontended(const Plan& plan) {
  Machine machine = machine_of(plan);
  machine.hbm = BytesPerSecond(infinite);
  machine.hop_latency = Picoseconds(0);
  machine.software.overlap = Overlap::ideal;
  return machine;
}

bool has_gather(const ProgramNode& node, Pass pass) {
  bool found = false;
  for_each_leaf(node, [&](const Leaf& leaf, std::int64_t) {
    const char* name = pass == Pass::backward ? "gather_gradients" : "gather_tokens";
    found = found || (leaf.pass == pass && leaf.name == name);
  });
  return found;
}

// The innermost Parallel of the exchange.
const ProgramNode& exchange(const ProgramNode& node, Pass pass) {
  for (const ProgramNode& child : node.children) {
    if (child.kind != ProgramNode::Kind::leaf && has_gather(child, pass)) {
      const ProgramNode& inner = exchange(child, pass);
      if (inner.kind == ProgramNode::Kind::parallel || node.kind != ProgramNode::Kind::parallel)
        return inner;
    }
  }
  return node;
}

struct ChunkTimes {
  double gather = 0, products = 0, scatter = 0;  // of all chunks
  double all() const { return gather + products + scatter; }
};

ChunkTimes chunks_alone(const ProgramNode& node, const Machine& machine) {
  ChunkTimes times;
  for_each_leaf(node, [&](const Leaf& leaf, std::int64_t n) {
    const double time = static_cast<double>(price(leaf, machine).duration.value() * n);
    const auto* work = std::get_if<Collective>(&leaf.work);
    (work == nullptr                            ? times.products
     : work->kind == CollectiveKind::all_gather ? times.gather
                                                : times.scatter) += time;
  });
  return times;
}

}  // namespace

TEST_CASE("chunks on shared links take a + N m + s where m >= a + s", "[sim][chunks]") {
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    for (const std::int64_t n : {2, 4, 8}) {
      const Plan plan = plan_in_chunks(n);
      const Machine machine = uncontended(plan);
      const StepProgram program = lower(plan, Prefetch::layer);
      const ProgramNode& node = exchange(program.root, pass);
      const ChunkTimes t = chunks_alone(node, machine);
      const auto chunks = static_cast<double>(n);
      REQUIRE(t.products >= t.gather + t.scatter);
      const double expected = (t.gather + t.scatter) / chunks + t.products;
      const auto taken = static_cast<double>(simulate_events(node, machine).total.value());
      INFO(name(pass) << ", " << n << " chunks");
      CHECK(std::abs(taken / expected - 1) < 0.01);
    }
  }
}

TEST_CASE("a barrier between chunks removes all overlap", "[sim][chunks]") {
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    const Plan plan = plan_in_chunks(4, true);
    const Machine machine = uncontended(plan);
    const StepProgram program = lower(plan, Prefetch::layer);
    const ProgramNode& node = exchange(program.root, pass);
    const auto taken = static_cast<double>(simulate_events(node, machine).total.value());
    CHECK(taken == Approx(chunks_alone(node, machine).all()).epsilon(1e-6));
  }
}
