// What must not change, and what must change by exactly how much.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "sim/network/byte_matrix.hpp"
#include "sim/network/flow_simulation.hpp"
#include "sim/network/network_run.hpp"
#include "tests/network/network_cases.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

CollectiveRequest random_request(std::mt19937_64& random, const Torus& torus) {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) axes.push_back(axis);
  CollectiveRequest request = whole_axes(static_cast<CollectiveOp>(random() % 6), torus, axes,
                                         Bytes(static_cast<std::int64_t>(random() % 50'000'000)));
  request.ties = random() % 2 == 0 ? HalfwayTies::split : HalfwayTies::one_way;
  request.chunks = 1 + static_cast<std::int64_t>(random() % 3);
  return request;
}

// Sends the group's all-gather or all-to-all along each of `axes` as flows, all at once.
Picoseconds together(const Torus& torus, const std::vector<std::size_t>& axes, double bytes) {
  FlowSet flows;
  for (std::size_t call = 0; call < axes.size(); ++call) {
    for (ChipId from = 0; from < torus.chips(); ++from) {
      for (ChipId to = 0; to < torus.chips(); ++to) {
        bool same_line = from != to;
        for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) {
          same_line = same_line && (axis == axes[call] ||
                                    torus.coordinate(from, axis) == torus.coordinate(to, axis));
        }
        if (!same_line) continue;
        const auto route = torus.route(from, to);
        flows.add(bytes, Picoseconds(0), std::vector<ResourceId>(route.begin(), route.end()),
                  static_cast<std::int32_t>(call));
      }
    }
  }
  const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                             v5p_links.link);
  return simulate_flows(capacity, flows).makespan;
}

}  // namespace

TEST_CASE("uniform collectives do not change when axes are relabelled", "[invariance]") {
  std::mt19937_64 random(21);
  for (int round = 0; round < 200; ++round) {
    const Torus torus = random_torus(random);
    const std::size_t rank = torus.shape().size();
    const CollectiveRequest request = random_request(random, torus);
    std::vector<std::size_t> order(rank);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    std::vector<std::int64_t> shape(rank);
    std::vector<bool> wraps(rank);
    for (std::size_t axis = 0; axis < rank; ++axis) {
      shape[order[axis]] = torus.shape()[axis];
      wraps[order[axis]] = torus.wraps(axis);
    }
    const Torus turned(shape, wraps);
    CollectiveRequest same = request;
    for (PhysicalPart& part : same.parts) part.axis = order[part.axis];
    std::sort(same.parts.begin(), same.parts.end(),
              [](const PhysicalPart& a, const PhysicalPart& b) { return a.axis < b.axis; });
    INFO(shape_text(torus.shape()) << " " << name(request.op));
    const auto difference =
        std::abs(time_of(request, torus).value() - time_of(same, turned).value());
    CHECK(difference <= 2);  // sums of doubles in another order
    CHECK(closed_form(request, v5p_links).value() ==
          Approx(static_cast<double>(closed_form(same, v5p_links).value())).margin(1));
  }
}

TEST_CASE("mirroring an axis mirrors the loads of lines and leaves rings as they are",
          "[invariance]") {
  std::mt19937_64 random(22);
  for (int round = 0; round < 200; ++round) {
    const Torus torus = random_torus(random);
    CollectiveRequest request = random_request(random, torus);
    request.ties = HalfwayTies::split;  // one way names a direction
    if (request.op == CollectiveOp::broadcast || request.op == CollectiveOp::collective_permute)
      continue;  // they name a root and a direction
    for (const AxisLoad& load : total_loads(phases(request, v5p_links, torus))) {
      const std::size_t n = load.positive.size();
      for (std::size_t i = 0; i < n; ++i)
        CHECK(load.positive[i] == Approx(load.negative[n - 1 - i]).margin(1e-6));
    }
  }
}

TEST_CASE("doubling the bandwidth halves the bandwidth term within a picosecond a phase",
          "[invariance]") {
  std::mt19937_64 random(23);
  NetworkSpeed speed = v5p_links;
  speed.hop_latency = Picoseconds(0);
  NetworkSpeed twice = speed;
  twice.link = speed.link * 2;
  for (int round = 0; round < 200; ++round) {
    const Torus torus = random_torus(random);
    const CollectiveRequest request = random_request(random, torus);
    for (const auto& [slow, fast] : [&] {
           std::vector<std::pair<Picoseconds, Picoseconds>> pairs;
           const std::vector<Phase> one = phases(request, speed, torus);
           const std::vector<Phase> other = phases(request, twice, torus);
           for (std::size_t i = 0; i < one.size(); ++i)
             pairs.emplace_back(one[i].time, other[i].time);
           return pairs;
         }())
      CHECK(std::abs(slow.value() - 2 * fast.value()) <= 1);
  }
}

TEST_CASE("a byte matrix does not change with the torus turned, a ring at a time", "[invariance]") {
  // On one ring, shifting every member by k shifts the loads by k.
  std::mt19937_64 random(24);
  const std::int64_t n = 7;
  const Torus ring({n}, {true});
  ByteMatrix matrix{n, {}}, shifted{n, std::vector<std::int64_t>(n * n)};
  for (std::int64_t i = 0; i < n * n; ++i)
    matrix.bytes.push_back(static_cast<std::int64_t>(random() % 1000));
  for (std::int64_t from = 0; from < n; ++from) {
    for (std::int64_t to = 0; to < n; ++to)
      shifted.bytes[static_cast<std::size_t>((from + 2) % n * n + (to + 2) % n)] =
          matrix.at(from, to);
  }
  const MatrixLoads one = matrix_loads(matrix, ring);
  const MatrixLoads other = matrix_loads(shifted, ring);
  for (ChipId chip = 0; chip < n; ++chip) {
    for (const Direction direction : {Direction::positive, Direction::negative}) {
      const auto here = static_cast<std::size_t>(*ring.find_link(chip, 0, direction));
      const auto there = static_cast<std::size_t>(*ring.find_link((chip + 2) % n, 0, direction));
      CHECK(one.bytes[here] == other.bytes[there]);
    }
  }
}

TEST_CASE("collectives on disjoint axes do not slow each other; on one axis they share it",
          "[invariance]") {
  const Torus torus = wrapped({4, 4, 4});
  const Picoseconds alone = together(torus, {0}, 1e6);
  CHECK(std::abs(together(torus, {0, 1}, 1e6).value() - alone.value()) <= 1);
  CHECK(std::abs(together(torus, {0, 1, 2}, 1e6).value() - alone.value()) <= 1);
  CHECK(std::abs(together(torus, {1, 1}, 1e6).value() - 2 * alone.value()) <= 1);
  CHECK(std::abs(together(torus, {2, 0, 2}, 1e6).value() - 2 * alone.value()) <= 1);
}

TEST_CASE("no link ever carries more than its capacity, in any window", "[invariance]") {
  std::mt19937_64 random(25);
  for (int round = 0; round < 30; ++round) {
    const Torus torus = random_torus(random);
    FlowSet flows;
    for (int i = 0; i < 150; ++i) {
      const auto from = static_cast<ChipId>(random() % static_cast<std::uint64_t>(torus.chips()));
      const auto to = static_cast<ChipId>(random() % static_cast<std::uint64_t>(torus.chips()));
      const auto route = torus.route(from, to);
      flows.add(static_cast<double>(random() % 3'000'000),
                Picoseconds(static_cast<std::int64_t>(random() % 40'000'000)),
                std::vector<ResourceId>(route.begin(), route.end()));
    }
    const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                               v5p_links.link);
    FlowOptions options;
    options.window = Picoseconds(3'000'000);  // 270,000 bytes at 90e9 B/s
    const FlowSimulation result = simulate_flows(capacity, flows, options);
    std::vector<double> sum(capacity.size());
    for (const std::vector<double>& window : result.bytes_by_window) {
      for (std::size_t link = 0; link < window.size(); ++link) {
        REQUIRE(window[link] <= 270'000 * (1 + 1e-9) + 1e-3);
        sum[link] += window[link];
      }
    }
    for (std::size_t link = 0; link < sum.size(); ++link)
      REQUIRE(sum[link] == Approx(result.links[link].bytes).margin(1e-3));
  }
}
