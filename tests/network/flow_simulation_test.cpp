#include "sim/network/flow_simulation.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tests/refusal.hpp"
#include "topologies/torus.hpp"

using namespace meshsim;

namespace {

using Route = std::vector<ResourceId>;
const BytesPerSecond byte_a_ps{1e12};  // one byte takes one picosecond

std::vector<BytesPerSecond> links(std::size_t count) { return {count, byte_a_ps}; }

struct RandomCase {
  std::vector<BytesPerSecond> capacity;
  FlowSet flows;
  std::vector<Route> routes;
};

RandomCase random_case(unsigned seed, int count) {
  std::mt19937_64 random(seed);
  const Torus torus({4, 3, 2}, {true, true, true});
  RandomCase made;
  for (LinkId id = 0; id < torus.links(); ++id)
    made.capacity.emplace_back(seed % 2 == 0 ? 9e10 : 1e10 * static_cast<double>(1 + random() % 9));
  for (int i = 0; i < count; ++i) {
    const auto from = static_cast<ChipId>(random() % 24);
    const auto to = static_cast<ChipId>(random() % 24);
    Route route;
    for (const LinkId link : torus.route(from, to)) route.push_back(static_cast<ResourceId>(link));
    const auto bytes = static_cast<double>(random() % 1'000'000);
    const Picoseconds start(random() % 2 == 0 ? 0
                                              : static_cast<std::int64_t>(random() % 9'000'000));
    made.flows.add(bytes, start, route);
    made.routes.push_back(route);
  }
  return made;
}

// The same by the book, in seconds: naive rates between every two events.
std::vector<double> naive_finish(const RandomCase& given) {
  const std::size_t count = given.flows.size();
  std::vector<double> finish(count, -1), left(count);
  for (std::size_t f = 0; f < count; ++f) left[f] = given.flows.bytes(static_cast<FlowId>(f));
  double now = 0;
  for (;;) {
    std::vector<std::size_t> moving;
    double next_start = 1e9;
    for (std::size_t f = 0; f < count; ++f) {
      const double start = seconds(given.flows.start(static_cast<FlowId>(f)));
      if (finish[f] >= 0) continue;
      if (start > now) {
        next_start = std::min(next_start, start);
      } else if (given.routes[f].empty() || left[f] <= 0) {
        finish[f] = now;
      } else {
        moving.push_back(f);
      }
    }
    if (moving.empty() && next_start == 1e9) return finish;
    std::vector<double> room, rate(count, -1);
    for (const BytesPerSecond capacity : given.capacity) room.push_back(capacity.value());
    for (std::size_t fixed = 0; fixed < moving.size();) {
      std::vector<double> users(room.size());
      for (const std::size_t f : moving) {
        if (rate[f] >= 0) continue;
        for (const ResourceId link : given.routes[f]) ++users[static_cast<std::size_t>(link)];
      }
      std::size_t full = room.size();
      for (std::size_t l = 0; l < room.size(); ++l) {
        if (users[l] > 0 && (full == room.size() || room[l] / users[l] < room[full] / users[full]))
          full = l;
      }
      const double share = room[full] / users[full];
      for (const std::size_t f : moving) {
        const Route& route = given.routes[f];
        if (rate[f] >= 0 ||
            std::find(route.begin(), route.end(), static_cast<ResourceId>(full)) == route.end())
          continue;
        rate[f] = share;
        ++fixed;
        for (const ResourceId link : route) room[static_cast<std::size_t>(link)] -= share;
      }
    }
    double step = next_start - now;
    for (const std::size_t f : moving) step = std::min(step, left[f] / rate[f]);
    for (const std::size_t f : moving) {
      left[f] -= rate[f] * step;
      if (left[f] <= 1e-6 * given.flows.bytes(static_cast<FlowId>(f)) * 1e-6) left[f] = 0;
    }
    now += step;
    for (const std::size_t f : moving) {
      if (left[f] <= 0) finish[f] = now;
    }
  }
}

}  // namespace

TEST_CASE("flows on one link share it until the shorter ends", "[flows]") {
  // 300 and 100 bytes at 1 byte/ps: both at 1/2 until 200 ps; then 200 bytes alone: 400 ps.
  FlowSet flows;
  flows.add(300, Picoseconds(0), Route{0});
  flows.add(100, Picoseconds(0), Route{0});
  const FlowSimulation result = simulate_flows(links(1), flows);
  CHECK(result.finish[1] == Picoseconds(200));
  CHECK(result.finish[0] == Picoseconds(400));
  CHECK(result.makespan == Picoseconds(400));
  CHECK(result.links[0].bytes == 400);
  CHECK(result.links[0].busy == Picoseconds(400));
  CHECK(result.links[0].flows == 2);
}

TEST_CASE("a later start shares from then on, an idle gap is not busy", "[flows]") {
  // 100 bytes alone until 60 ps (40 left); both at 1/2: the first ends at 60 + 80 = 140 with 60 of
  // the second's 100 left... 140 + 60 = 200. A third at 500 takes 50 ps.
  FlowSet flows;
  flows.add(100, Picoseconds(0), Route{0});
  flows.add(100, Picoseconds(60), Route{0});
  flows.add(50, Picoseconds(500), Route{0});
  const FlowSimulation result = simulate_flows(links(1), flows);
  CHECK(result.finish[0] == Picoseconds(140));
  CHECK(result.finish[1] == Picoseconds(200));
  CHECK(result.finish[2] == Picoseconds(550));
  CHECK(result.links[0].busy == Picoseconds(250));
}

TEST_CASE("finish times are rounded up, and rounding does not add up", "[flows]") {
  // 1000 flows of 1, 2, ..., 1000 bytes on a link of 0.3 bytes/ps: flow k ends when
  // sum_{i<=k} i + (1000 - k) k bytes have moved, at that / 0.3 ps.
  FlowSet flows;
  for (int k = 1; k <= 1000; ++k) flows.add(k, Picoseconds(0), Route{0});
  const std::vector<BytesPerSecond> slow{BytesPerSecond(3e11)};
  const FlowSimulation result = simulate_flows(slow, flows);
  for (std::int64_t k = 1; k <= 1000; ++k) {
    const std::int64_t moved = k * (k + 1) / 2 + (1000 - k) * k;
    CHECK(result.finish[static_cast<std::size_t>(k - 1)].value() == (moved * 10 + 2) / 3);
  }
}

TEST_CASE("no links or no bytes: the flow ends where it starts", "[flows]") {
  FlowSet flows;
  flows.add(1e12, Picoseconds(7), Route{});
  flows.add(0, Picoseconds(9), Route{0});
  const FlowSimulation result = simulate_flows(links(1), flows);
  CHECK(result.finish[0] == Picoseconds(7));
  CHECK(result.finish[1] == Picoseconds(9));
  CHECK(result.links[0].flows == 0);
}

TEST_CASE("random flows end as the naive simulation says", "[flows]") {
  for (unsigned seed = 0; seed < 24; ++seed) {
    INFO("seed " << seed);
    const RandomCase given = random_case(seed, 20 + static_cast<int>(seed) * 5);
    const FlowSimulation result = simulate_flows(given.capacity, given.flows);
    const std::vector<double> expected = naive_finish(given);
    for (std::size_t f = 0; f < expected.size(); ++f) {
      INFO("flow " << f);
      // Rounded up to a picosecond.
      CHECK(std::abs(seconds(result.finish[f]) - expected[f]) <= 1.01e-12 + 1e-9 * expected[f]);
    }
  }
}

TEST_CASE("no link carries more than its capacity", "[flows]") {
  const RandomCase given = random_case(3, 200);
  const FlowSimulation result = simulate_flows(given.capacity, given.flows);
  for (std::size_t l = 0; l < given.capacity.size(); ++l) {
    const double most = given.capacity[l].value() * seconds(result.links[l].busy);
    CHECK(result.links[l].bytes <= most * (1 + 1e-9) + 1);
  }
}

TEST_CASE("equal inputs give equal runs, in any order of the flows", "[flows]") {
  // The ends of an all-to-all of equal sizes tie everywhere.
  const Torus torus({4, 4}, {true, true});
  FlowSet flows, reversed;
  std::vector<Route> routes;
  for (ChipId from = 0; from < 16; ++from) {
    for (ChipId to = 0; to < 16; ++to) {
      const auto route = torus.route(from, to);
      routes.emplace_back(route.begin(), route.end());
    }
  }
  for (const Route& route : routes) flows.add(1e6, Picoseconds(0), route);
  for (auto at = routes.rbegin(); at != routes.rend(); ++at) reversed.add(1e6, Picoseconds(0), *at);
  const auto capacity = links(static_cast<std::size_t>(torus.links()));
  const FlowSimulation one = simulate_flows(capacity, flows);
  CHECK(one.finish == simulate_flows(capacity, flows).finish);
  std::vector<Picoseconds> other = simulate_flows(capacity, reversed).finish;
  std::reverse(other.begin(), other.end());
  CHECK(one.finish == other);
  CHECK(one.events < 10);
}

TEST_CASE("with a tolerance, ends are batched and the makespan moves by less", "[flows]") {
  const Torus torus({4, 4, 4}, {true, true, true});
  std::mt19937_64 random(11);
  FlowSet flows;
  for (ChipId from = 0; from < 64; ++from) {
    for (ChipId to = 0; to < 64; ++to) {
      const auto route = torus.route(from, to);
      const double bytes = static_cast<double>((1 + to % 5) * 200'000 + random() % 300'000);
      flows.add(bytes, Picoseconds(0), Route(route.begin(), route.end()));
    }
  }
  const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                             BytesPerSecond(9e10));
  const FlowSimulation exact = simulate_flows(capacity, flows);
  const FlowSimulation batched = simulate_flows(capacity, flows, {0.01});
  CHECK(batched.events * 4 < exact.events);
  CHECK(seconds(batched.makespan) == Approx(seconds(exact.makespan)).epsilon(0.01));
}

TEST_CASE("links are accounted by collective and over time", "[flows]") {
  // Link 0: 300 bytes of collective 0 and 100 of collective 1, at 1/2 each until 200 ps, the rest
  // alone until 400 ps. Link 1: the 100 bytes, until 200 ps. Windows of 150 ps.
  FlowSet flows;
  flows.add(300, Picoseconds(0), Route{0}, 0);
  flows.add(100, Picoseconds(0), Route{0, 1}, 1);
  const FlowSimulation result = simulate_flows(links(2), flows, {0, 100, Picoseconds(150)});
  CHECK(result.bytes_by_collective == std::vector<std::vector<double>>{{300, 0}, {100, 100}});
  REQUIRE(result.bytes_by_window.size() == 3);
  const std::vector<std::vector<double>> expected{{150, 75}, {150, 25}, {100, 0}};
  for (std::size_t k = 0; k < 3; ++k) {
    for (std::size_t link = 0; link < 2; ++link)
      CHECK(result.bytes_by_window[k][link] == Approx(expected[k][link]).margin(1e-9));
  }
  CHECK(result.finish[0] == Picoseconds(400));
  CHECK(result.makespan == Picoseconds(400));
}

TEST_CASE("a flow that starts where a window ends has moved nothing in it", "[flows]") {
  FlowSet flows;
  flows.add(100, Picoseconds(0), Route{0});
  flows.add(50, Picoseconds(150), Route{0});  // the first is done at 100 ps
  const FlowSimulation result = simulate_flows(links(1), flows, {0, 100, Picoseconds(150)});
  REQUIRE(result.bytes_by_window.size() == 2);
  CHECK(result.bytes_by_window[0][0] == Approx(100));
  CHECK(result.bytes_by_window[1][0] == Approx(50));
}

TEST_CASE("caps and nonsense are refused", "[flows]") {
  FlowSet flows;
  for (int i = 0; i < 10; ++i) flows.add(1 + i, Picoseconds(0), Route{0});
  CHECK(simulate_flows(links(1), flows, {0, 11}).events == 11);  // one start, ten ends
  CHECK(refusal([&] {
          simulate_flows(links(1), flows, {0, 10});
        }).kind() == ErrorKind::resource_limit);
  CHECK_THROWS_AS(simulate_flows(links(1), flows, {-0.1}), Error);
  CHECK_THROWS_AS(simulate_flows(links(1), flows, {1}), Error);
  CHECK_THROWS_AS(simulate_flows(std::vector<BytesPerSecond>{BytesPerSecond(0)}, flows), Error);
}
