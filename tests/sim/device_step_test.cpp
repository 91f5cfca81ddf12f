// Steps of devices that run at their own speeds and meet in collectives.
#include <catch2/catch.hpp>

#include "cost_models/machine.hpp"
#include "sim/device_step.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"
#include "tests/sim/toy_programs.hpp"
#include "tests/sim/toy_routing.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

constexpr std::int64_t one_tile = tile_time;
constexpr std::int64_t hop = 1000;

// HBM costs nothing; "expert" is a line of two.
Machine two_ranks_machine() {
  Machine machine = links_only({ring(0, 4)});
  machine.mesh_axes.push_back({"expert", {line(1, 2)}});
  return machine;
}

// Joins both ranks: one hop, and the half of `bytes` over the link between them.
ProgramNode meeting(std::int64_t bytes = 0) {
  Leaf leaf;
  leaf.name = "meeting";
  leaf.work = Collective{CollectiveKind::all_gather, {"expert"}, 2, Bytes(bytes)};
  return leaf_node(std::move(leaf));
}

DeviceStep of_ranks(const StepProgram& program, const Machine& machine) {
  const DeviceGrid grid({{"expert", 2}});
  RankLoads loads(program.loads.get(), grid.classes(), machine);
  return simulate_devices(program, machine, grid, loads);
}

}  // namespace

TEST_CASE("between two meetings the slowest device counts", "[sim][devices]") {
  // Rank 0 has 192 rows of layer 0 and 64 of layer 1, rank 1 the other way round: 24 tiles and 8.
  const std::vector<CountMatrix> layers{two_ranks(96, 32), two_ranks(32, 96)};
  StepProgram program =
      program_of(sequence({routed_work(0), meeting(), routed_work(1), meeting()}));
  program.loads = loads_of(layers);
  const Machine machine = two_ranks_machine();
  const DeviceStep met = of_ranks(program, machine);
  CHECK(met.total == Picoseconds(2 * (24 * one_tile + hop)));
  CHECK(met.total == simulate_events(program, machine).total);
  for (const DeviceStep::Device& device : met.classes) {
    CHECK(device.end == met.total);
    CHECK(device.experts == Picoseconds(32 * one_tile));
    CHECK(device.waited == Picoseconds(16 * one_tile));  // rank 1 for layer 0, rank 0 for layer 1
  }
  // Nobody is met in between: either rank is through after its own 32 tiles.
  program.root = sequence({routed_work(0), routed_work(1), meeting()});
  const DeviceStep unmet = of_ranks(program, machine);
  CHECK(unmet.total == Picoseconds(32 * one_tile + hop));
  CHECK(unmet.classes[0].waited == Picoseconds(0));
}

TEST_CASE("a transfer waits for those it joins and for nobody else", "[sim][devices]") {
  const Machine machine = two_ranks_machine();
  StepProgram program = program_of(sequence({routed_work(0), gather(8'000)}));
  program.loads = loads_of({two_ranks(96, 32)});
  // Over fsdp: 3000 ps and two hops, each rank with devices like itself.
  const DeviceStep apart = of_ranks(program, machine);
  CHECK(apart.classes[0].end == Picoseconds(24 * one_tile + 3000 + 2 * hop));
  CHECK(apart.classes[1].end == Picoseconds(8 * one_tile + 3000 + 2 * hop));

  // Beside a tile of work: rank 1 works from 8 t, its transfer starts with that of rank 0 at 24 t.
  program.root = sequence({routed_work(0), parallel(work(1, 0), {meeting(8'000)})});
  const DeviceStep beside = of_ranks(program, machine);
  CHECK(beside.classes[0].end == Picoseconds(25 * one_tile));
  CHECK(beside.classes[1].end == Picoseconds(24 * one_tile + 4000 + hop));
  CHECK(beside.classes[1].waited == Picoseconds(16 * one_tile));
  CHECK(beside.classes[0].waited == Picoseconds(0));

  // The routed work inside a Parallel, and a transfer after it that the other branch hands on.
  program.root = sequence({parallel(routed_work(0), {gather(8'000)}), meeting()});
  CHECK(of_ranks(program, machine).total == Picoseconds(24 * one_tile + hop));
}

TEST_CASE("groups with loads of their own wait where they meet", "[sim][devices]") {
  const Machine machine = two_ranks_machine();
  const DeviceGrid grid({{"fsdp", 2}, {"expert", 2}});
  StepProgram program = program_of(sequence({routed_work(0), gather(8'000)}));
  program.loads = loads_of({two_ranks(96, 32)});
  GroupLoads loads({program.loads, loads_of({two_ranks(64, 64)})}, grid, machine);
  const DeviceStep step = simulate_devices(program, machine, grid, loads);
  // Tiles: 24 and 8 in group 0, 16 and 16 in group 1; the gather joins ranks of one number.
  const std::int64_t gathered = 3000 + 2 * hop;
  CHECK(step.classes[0].end == Picoseconds(24 * one_tile + gathered));  // (0, 0)
  CHECK(step.classes[1].end == Picoseconds(16 * one_tile + gathered));  // (0, 1)
  CHECK(step.classes[2].end == Picoseconds(24 * one_tile + gathered));  // (1, 0)
  CHECK(step.classes[3].end == Picoseconds(16 * one_tile + gathered));  // (1, 1)
  CHECK(step.classes[1].waited == Picoseconds(8 * one_tile));
}

TEST_CASE("devices that do the same take what one of them takes", "[sim][devices]") {
  for (const Words& mesh : {Words{"ici_fsdp_parallelism=256"},
                            Words{"ici_fsdp_parallelism=32", "ici_expert_parallelism=8"}}) {
    const Plan plan = plan_of(job("deepseek4-284b", "v5p-512", mesh));
    const Machine machine = machine_of(plan);
    const DeviceGrid grid({{"fsdp", plan.mesh.size("fsdp")}, {"expert", plan.mesh.size("expert")}});
    REQUIRE(grid.classes() == 256);
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const StepProgram program = lower(plan, prefetch);
      RankLoads balanced(nullptr, grid.classes(), machine);
      CHECK(simulate_devices(program, machine, grid, balanced).total ==
            simulate_events(program, machine).total);
    }
  }
}

TEST_CASE("groups that route alike take what their ranks take as classes", "[sim][devices]") {
  for (const Words& more :
       {Words{}, Words{"use_ring_of_experts=true"}, Words{"num_moe_token_chunks=2"}}) {
    Words words{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "max_target_length=512"};
    words.insert(words.end(), more.begin(), more.end());
    PlanRequest asked = request(job("qwen3-30b-a3b", "v5p-32", words));
    Node law;
    law.kind = Node::Kind::scalar;
    law.text = "lognormal:sigma=0.45,seed=1";
    asked.own["routing"] = law;
    std::optional<Plan> plan;
    try {
      plan = make_plan(asked);
    } catch (const Error&) {
      continue;  // chunks without the ring
    }
    const Machine machine = machine_of(*plan);
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const StepProgram program = lower(*plan, prefetch);
      REQUIRE(program.loads);
      const DeviceGrid ranks({{"expert", 4}});
      RankLoads alike(program.loads.get(), 4, machine);
      const DeviceStep few = simulate_devices(program, machine, ranks, alike);
      const DeviceGrid all({{"fsdp", 4}, {"expert", 4}});
      GroupLoads own({program.loads, program.loads, program.loads, program.loads}, all, machine);
      const DeviceStep many = simulate_devices(program, machine, all, own);
      CHECK(few.total == many.total);
      for (std::size_t d = 0; d < all.classes(); ++d) {
        CHECK(many.classes[d].end == few.classes[d % 4].end);
        CHECK(many.classes[d].waited == few.classes[d % 4].waited);
      }
      // The straggler of every exchange sets the time, unless another rank needs longer than the
      // one with most rows, or one that has fallen behind catches up.
      const double straggled = few.total / simulate_events(program, machine).total;
      CHECK(straggled == Approx(1).margin(0.01));
      Picoseconds waited;
      for (const DeviceStep::Device& device : few.classes) waited += device.waited;
      CHECK(waited > Picoseconds(0));
    }
  }
}

TEST_CASE("of interleaved groups a link carries what all of them send", "[sim][devices]") {
  // "expert" strides over "fsdp" on one ring of 4: two groups of two, on the same links. Group 0
  // sends twice what is balanced to rank 0, group 1 as much to rank 1.
  Machine machine = links_only({ring(0, 2, 1)});
  machine.mesh_axes.push_back({"expert", {ring(0, 2, 2)}});
  const DeviceGrid grid({{"fsdp", 2}, {"expert", 2}});
  Leaf dispatch;
  dispatch.name = "dispatch";
  dispatch.work = Collective{CollectiveKind::all_to_all, {"expert"}, 2, Bytes(128'000)};
  dispatch.routed = {0, 128, Bytes(128'000), true};
  StepProgram program = program_of(leaf_node(dispatch));
  const auto price_of = [&](const CountMatrix& first, const CountMatrix& second) {
    GroupLoads loads({loads_of({first}), loads_of({second})}, grid, machine);
    ClassPrices prices;
    loads.price(program.root.leaf, 0, prices);
    return prices[0].duration.value();
  };
  const std::int64_t balanced = price_of(two_ranks(64, 64), two_ranks(64, 64));
  const std::int64_t alike = price_of(two_ranks(96, 32), two_ranks(96, 32));
  const std::int64_t opposite = price_of(two_ranks(96, 32), two_ranks(32, 96));
  const double latency = 2 * static_cast<double>(hop);  // over two links
  const auto sending = [&](std::int64_t time) { return static_cast<double>(time) - latency; };
  // 96 slots against 64 on the busiest way; 96 + 32 against 64 + 64.
  CHECK(sending(alike) == Approx(1.5 * sending(balanced)).margin(2));
  CHECK(sending(opposite) == Approx(sending(balanced)).margin(2));
}
