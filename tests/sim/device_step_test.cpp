// Steps of devices that run at their own speeds and meet in collectives.
#include <catch2/catch.hpp>

#include "cost_models/machine.hpp"
#include "sim/device_classes.hpp"
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

TEST_CASE("groups that never meet take what each takes by itself", "[sim][devices]") {
  // Four groups of two ranks, which meet only inside: in a Parallel each is a circle of its own.
  const Machine machine = two_ranks_machine();
  StepProgram program = program_of(sequence(
      {parallel(sequence({routed_work(0), work(2, 0)}), {meeting(900'000)}), routed_work(1),
       parallel(sequence({work(1, 0), routed_work(1)}), {meeting(2'000'000)})}));
  const DeviceGrid grid({{"fsdp", 4}, {"expert", 2}});
  std::vector<std::shared_ptr<const ExpertLoads>> drawn;
  for (const std::int64_t more : {0, 8, 24, 56})
    drawn.push_back(
        loads_of({two_ranks(64 + more, 64 - more), two_ranks(64 - more / 2, 64 + more)}));
  GroupLoads loads(drawn, grid, machine);
  const DeviceStep all = simulate_devices(program, machine, grid, loads);
  for (std::size_t group = 0; group < drawn.size(); ++group) {
    program.loads = drawn[group];
    const DeviceStep alone = of_ranks(program, machine);
    for (std::size_t rank = 0; rank < 2; ++rank) {
      CHECK(all.classes[2 * group + rank].end == alone.classes[rank].end);
      CHECK(all.classes[2 * group + rank].waited == alone.classes[rank].waited);
    }
  }
  CHECK(all.classes[7].end != all.classes[1].end);
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

TEST_CASE("a device is busy with what all do and with its own rows", "[sim][devices]") {
  // Rank 0 has 192 rows, rank 1 has 64: 24 tiles and 8, and one tile that does not follow the
  // routing. The gather receives 3/4 of 8000 bytes over two links: 3000 ps of them.
  StepProgram program = program_of(sequence({repeat(
      3, sequence({parallel(sequence({repeat(2, routed_work(0)), work(1, 0)}), {gather(8'000)}),
                   work(1, 0), meeting()}))}));
  program.loads = loads_of({two_ranks(96, 32)});
  const DeviceStep step = of_ranks(program, two_ranks_machine());
  const double tile = static_cast<double>(one_tile);
  CHECK(step.common[tensor_core] == Approx(3 * 2 * tile));
  CHECK(step.common[ici_0] == Approx(3 * 3000));
  CHECK(step.classes[0].routed[tensor_core] == Approx(3 * 2 * 24 * tile));
  CHECK(step.classes[1].routed[tensor_core] == Approx(3 * 2 * 8 * tile));
  CHECK(step.classes[0].experts == Picoseconds(3 * 2 * 24 * one_tile));
  CHECK(step.classes[1].waited == Picoseconds(3 * 2 * 16 * one_tile));
}

TEST_CASE("the devices of a plan, as ranks of one group and all of them", "[sim][devices]") {
  PlanRequest asked =
      request(job("qwen3-30b-a3b", "v5p-32",
                  {"ici_expert_parallelism=4", "ici_fsdp_parallelism=2", "ici_tensor_parallelism=2",
                   "allow_split_physical_axes=true", "max_target_length=512"}));
  CHECK_FALSE(device_classes(make_plan(asked), *evaluate(make_plan(asked), Fidelity::event).step,
                             DeviceDetail::all));  // balanced
  Node law;
  law.kind = Node::Kind::scalar;
  law.text = "lognormal:sigma=0.45,seed=1";
  asked.own["routing"] = law;
  const Plan plan = make_plan(asked);
  const Evaluation evaluation = evaluate(plan, Fidelity::event);
  const auto ranks = device_classes(plan, *evaluation.step, DeviceDetail::ranks);
  const auto all = device_classes(plan, *evaluation.step, DeviceDetail::all);
  REQUIRE((ranks && all));
  CHECK(ranks->grid.classes() == 4);
  CHECK(ranks->devices_each == 4);
  // Tensor-parallel devices share their tokens.
  CHECK(all->grid.classes() == 8);
  CHECK(all->devices_each == 2);
  CHECK(all->place(7) == "fsdp=1, expert=3");
  // The first group draws the tokens that all draw in the other answer; both groups route as many.
  for (std::size_t d = 0; d < 4; ++d)
    CHECK(all->step.classes[d].experts == ranks->step.classes[d].experts);
  CHECK(all->step.classes[4].experts != ranks->step.classes[0].experts);
  // What is not met in between adds up, and the groups' maxima are no less than one group's.
  const double straggled = ranks->step.total / evaluation.step->timeline.total;
  CHECK(straggled == Approx(1).margin(0.01));
  CHECK(all->step.total / ranks->step.total > 0.99);
  for (std::size_t d = 0; d < 8; ++d) {
    CHECK(all->busy(d, tensor_core) + all->step.classes[d].waited < all->step.total);
    CHECK(all->busy(d, tensor_core).value() >
          static_cast<std::int64_t>(all->step.common[tensor_core]));
  }
}
