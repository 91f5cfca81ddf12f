#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tests/simgrid/simgrid_flows.hpp"
#include "topologies/torus.hpp"

using namespace meshsim;

TEST_CASE("random flows end when SimGrid says, within 1e-6", "[simgrid]") {
  std::mt19937_64 random(2026);
  const Torus torus({4, 4, 4}, {true, true, true});
  FlowSet flows;
  for (int i = 0; i < 400; ++i) {
    const auto from = static_cast<ChipId>(random() % 64);
    const auto to = static_cast<ChipId>(random() % 64);
    const auto route = torus.route(from, to);
    const Picoseconds start(i % 2 == 0 ? 0 : static_cast<std::int64_t>(random() % 100'000'000));
    flows.add(static_cast<double>(100'000 + random() % 4'000'000), start,
              std::vector<ResourceId>(route.begin(), route.end()));
  }
  std::vector<BytesPerSecond> capacity;
  for (LinkId link = 0; link < torus.links(); ++link)
    capacity.emplace_back(link % 7 == 0 ? 4.5e10 : 9e10);
  const std::vector<double> expected = testing::simgrid_finish(capacity, flows);
  const FlowSimulation result = simulate_flows(capacity, flows);
  double worst = 0;
  for (std::size_t flow = 0; flow < expected.size(); ++flow) {
    if (expected[flow] > 0)
      worst = std::max(worst, std::abs(seconds(result.finish[flow]) / expected[flow] - 1));
  }
  CHECK(worst < 1e-6);
}
