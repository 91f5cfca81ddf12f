// Transfers that leave the slice: over DCN to other slices, over PCIe to the host.
#include <catch2/catch.hpp>

#include "cost_models/price.hpp"
#include "tests/cost_models/toy_machine.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// `slices` slices, each with a ring of 4, at 1 byte/ps on ICI and 0.001 byte/ps on DCN.
Price over_slices(CollectiveKind kind, std::int64_t bytes, std::int64_t slices) {
  Machine machine = links_only({ring(0, 4)});
  machine.mesh_axes.front().slices = slices;
  return price(Collective{kind, {"fsdp"}, 4 * slices, Bytes(bytes)}, machine);
}

}  // namespace

TEST_CASE("each device exchanges its share of a slice over DCN", "[cost_models]") {
  constexpr std::int64_t V = 1 << 20;
  // Of a gathered array, a device's share of one slice is V / 4; half of that comes from the other
  // of two slices.
  CHECK(over_slices(CollectiveKind::all_gather, V, 2).times[dcn] == Approx(V / 4 / 2 * 1000.0));
  CHECK(over_slices(CollectiveKind::reduce_scatter, V, 2).times[dcn] == Approx(V / 4 / 2 * 1000.0));
  // Three of four slices are elsewhere; an all-reduce goes both ways.
  CHECK(over_slices(CollectiveKind::all_reduce, V, 4).times[dcn] ==
        Approx(2 * (V / 4) * 3 / 4 * 1000.0));
  CHECK(over_slices(CollectiveKind::all_gather, V, 1).times[dcn] == 0);
}

TEST_CASE("inside its slice a collective is what it is on one slice", "[cost_models]") {
  constexpr std::int64_t V = 1 << 20;
  for (const CollectiveKind kind :
       {CollectiveKind::all_gather, CollectiveKind::all_reduce, CollectiveKind::reduce_scatter}) {
    CHECK(over_slices(kind, V, 8).times[ici_0] == Approx(over_slices(kind, V, 1).times[ici_0]));
  }
}

TEST_CASE("a copy to the host takes PCIe and HBM, whichever way it goes", "[cost_models]") {
  const Machine machine = toy_machine();
  // 1 MB at 0.01 byte/ps; HBM moves the same bytes at 1 byte/ps.
  const Price out = price(HostCopy{Bytes(1'000'000), true}, machine);
  const Price back = price(HostCopy{Bytes(1'000'000), false}, machine);
  CHECK(out.duration == Picoseconds(100'000'000));
  CHECK(out.duration == back.duration);
  // A direction has the link's bandwidth for itself.
  CHECK(out.use(pcie_out) == Approx(1));
  CHECK(out.use(pcie_in) == 0);
  CHECK(back.use(pcie_in) == Approx(1));
  CHECK(out.use(hbm) == Approx(0.01));
}
