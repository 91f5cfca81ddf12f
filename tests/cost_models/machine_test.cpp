#include "cost_models/machine.hpp"

#include <catch2/catch.hpp>

#include "tests/plans/plan_request.hpp"

using namespace meshsim;
using namespace meshsim::testing;

TEST_CASE("the machine of a plan is its chip as its calibration says", "[cost_models]") {
  Plan plan = plan_of(flash());
  auto calibration = std::make_shared<Calibration>(*plan.config.calibration);
  for (CalibrationConstant& one : calibration->constants) {
    if (one.name == "matmul") one.value = 0.90;
    if (one.name == "hbm") one.value = 0.83;
  }
  plan.config.calibration = calibration;
  const Machine machine = machine_of(plan);
  CHECK(machine.matmul_peak.value() == 4.59e14);
  CHECK(machine.matmul.value() == Approx(0.90 * 4.59e14));
  CHECK(machine.hbm.value() == Approx(0.83 * 2.765e12));
  CHECK(machine.mxu_size == 128);
  CHECK(machine.hop_latency == Picoseconds(1'000'000));
}

TEST_CASE("mesh axes lie where the placement put them", "[cost_models]") {
  // 4x8x8 with fsdp 32 and expert 8: expert takes the first axis of 8 whole, fsdp the rest.
  const Machine machine =
      machine_of(plan_of(flash({"ici_fsdp_parallelism=32", "ici_expert_parallelism=8"})));
  const std::vector<PhysicalPart> expert = machine.parts({"expert"});
  REQUIRE(expert.size() == 1);
  CHECK(expert[0].part == 8);
  CHECK(expert[0].stride == 1);
  CHECK(expert[0].wraparound);
  std::int64_t fsdp = 1;
  for (const PhysicalPart& part : machine.parts({"fsdp"})) fsdp *= part.part;
  CHECK(fsdp == 32);
  std::int64_t both = 1;
  for (const PhysicalPart& part : machine.parts({"fsdp", "expert"})) both *= part.part;
  CHECK(both == 256);
}

TEST_CASE("what no source states cannot be priced", "[cost_models]") {
  StepProgram on_device;
  StepProgram offloading;
  Leaf copy;
  copy.work = HostCopy{Bytes(1), true};
  offloading.root = leaf_node(std::move(copy));
  for (const std::string& name : chip_names()) {
    INFO(name);
    const Chip& chip = find_chip(name);
    const Topology one = make_topology(slice_by_shape(chip, std::vector<std::int64_t>{2, 2}), 1);
    const Topology two = make_topology(one.slice, 2);
    const bool linked = chip.ici_link_bandwidth.has_value();
    CHECK(not_priced(one, on_device).has_value() == !linked);
    CHECK(not_priced(one, offloading).has_value() == !(linked && chip.pcie_bandwidth));
    CHECK(not_priced(two, on_device).has_value() == !(linked && chip.dcn_bandwidth));
  }
  CHECK(!not_priced(make_topology(slice_by_name("v5p-512"), 2), offloading));
  CHECK(not_priced(make_topology(slice_by_name("tpu7x-8"), 1), on_device));
}
