#include "sim/network/collective.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "sim/network/byte_matrix.hpp"
#include "sim/network/flow_simulation.hpp"
#include "tests/network/network_cases.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

double us(Picoseconds time) { return static_cast<double>(time.value()) / 1e6; }

CollectiveRequest ring(CollectiveOp op, std::int64_t n, Bytes bytes) {
  CollectiveRequest request;
  request.op = op;
  request.bytes = bytes;
  request.parts = {{0, n, 1, true}};
  return request;
}

// Every flow of a flat all-to-all, one by one.
FlowSimulation all_flows(const Torus& torus, Bytes payload, HalfwayTies ties) {
  FlowSet flows;
  const double each = static_cast<double>(payload.value()) / static_cast<double>(torus.chips());
  for (ChipId from = 0; from < torus.chips(); ++from) {
    for (ChipId to = 0; to < torus.chips(); ++to) {
      for (const Path& path : torus.paths(from, to, {ties, {}})) {
        const auto hops = static_cast<std::int64_t>(path.links.size());
        const std::vector<ResourceId> route(path.links.begin(), path.links.end());
        flows.add(each * path.weight, v5p_links.hop_latency * hops, route);
      }
    }
  }
  const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                             v5p_links.link);
  return simulate_flows(capacity, flows);
}

}  // namespace

TEST_CASE("ring all-gather on one axis: 64 MiB at 90e9 B/s and 1 us a hop", "[collective]") {
  // (n-1)/n x 67,108,864 B / (90e9 B/s x directions) + (n-1) us.
  // n = 4: 50,331,648 B / 90e9 = 559.2405 us + 3 us; half of it + 3 us in both directions.
  struct Case {
    std::int64_t n;
    double one, both;
  };
  for (const Case& expected :
       {Case{4, 562.241, 282.620}, Case{8, 659.447, 333.224}, Case{16, 714.051, 364.525}}) {
    const Torus torus({expected.n}, {true});
    for (const CollectiveOp op : {CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
      CollectiveRequest request = ring(op, expected.n, mib64);
      CHECK(us(time_of(request, torus)) == Approx(expected.both).margin(0.0006));
      CHECK(closed_form(request, v5p_links) == time_of(request, torus));
      request.both_directions = false;
      CHECK(us(time_of(request, torus)) == Approx(expected.one).margin(0.0006));
      CHECK(closed_form(request, v5p_links) == time_of(request, torus));
    }
    const CollectiveRequest reduce = ring(CollectiveOp::all_reduce, expected.n, mib64);
    CHECK(us(time_of(reduce, torus)) == Approx(2 * expected.both).margin(0.0012));
  }
}

TEST_CASE("flat all-to-all of 64 MiB a chip, as SimGrid has it", "[collective]") {
  // One way: the largest of D (n+2) / (8 w), + 1 us until the first bytes arrive. n = 4:
  // 67,108,864 x 6 / (8 x 90e9) = 559.241 us; n = 8: x 10 / 8 = 932.068 us. Split: x n / 8.
  struct Case {
    std::vector<std::int64_t> shape;
    double one_way, split;
  };
  for (const Case& expected : {Case{{4, 4, 4}, 560.241, 372.827}, Case{{4, 4, 8}, 933.068, 745.654},
                               Case{{8, 8, 4}, 933.068, 745.654}}) {
    const Torus torus = wrapped(expected.shape);
    CollectiveRequest request = whole_axes(CollectiveOp::all_to_all, torus, {0, 1, 2}, mib64);
    CHECK(us(time_of(request, torus)) == Approx(expected.one_way).epsilon(1e-6));
    CHECK(closed_form(request, v5p_links) == time_of(request, torus));
    request.ties = HalfwayTies::split;
    CHECK(us(time_of(request, torus)) == Approx(expected.split + 1).epsilon(1e-6));
    CHECK(closed_form(request, v5p_links) == time_of(request, torus));
  }
}

TEST_CASE("the all-to-all's time from loads is that of its flows", "[collective]") {
  // One way the busiest links are never idle: equal within a picosecond a flow end.
  const Torus torus = wrapped({4, 4, 4});
  const CollectiveRequest request = whole_axes(CollectiveOp::all_to_all, torus, {0, 1, 2}, mib64);
  const FlowSimulation flows = all_flows(torus, mib64, HalfwayTies::one_way);
  CHECK(us(flows.makespan) == Approx(560.241).epsilon(1e-6));
  CHECK(us(flows.makespan) == Approx(us(time_of(request, torus))).epsilon(1e-6));
  // And the bytes of every link are those of its axis and direction.
  for (const AxisLoad& load : total_loads(phases(request, v5p_links, torus))) {
    for (LinkId id = 0; id < torus.links(); ++id) {
      const Link& link = torus.link(id);
      if (link.axis != load.axis) continue;
      const auto at = static_cast<std::size_t>(torus.coordinate(link.from, load.axis));
      const double expected =
          link.direction == Direction::positive ? load.positive[at] : load.negative[at];
      REQUIRE(flows.links[static_cast<std::size_t>(id)].bytes == Approx(expected));
    }
  }
}

TEST_CASE("a ring pays its latency per step: the steps, flow by flow", "[collective]") {
  for (const std::int64_t n : {2, 3, 5, 8}) {
    const Torus torus({n}, {true});
    const Bytes shard(100'000);
    Picoseconds time;
    for (std::int64_t step = 1; step < n; ++step) {
      FlowSet flows;
      for (ChipId chip = 0; chip < n; ++chip) {
        for (const Direction direction : {Direction::positive, Direction::negative}) {
          const auto link = static_cast<ResourceId>(*torus.find_link(chip, 0, direction));
          flows.add(static_cast<double>(shard.value()) / 2, v5p_links.hop_latency,
                    std::vector<ResourceId>{link});
        }
      }
      const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()),
                                                 v5p_links.link);
      time += simulate_flows(capacity, flows).makespan;
    }
    const Picoseconds whole = time_of(ring(CollectiveOp::all_gather, n, shard * n), torus);
    CHECK(std::abs(whole.value() - time.value()) <= n);  // each step is rounded up
  }
}

TEST_CASE("random shapes: phases meet the closed forms when nothing else is there",
          "[collective]") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 400; ++round) {
    const Torus torus = random_torus(random);
    std::vector<std::size_t> axes;
    for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) {
      if (random() % 3 > 0) axes.push_back(axis);
    }
    const auto op = static_cast<CollectiveOp>(random() % 6);
    CollectiveRequest request =
        whole_axes(op, torus, axes, Bytes(static_cast<std::int64_t>(random() % 100'000'000)));
    if (request.parts.empty()) continue;
    request.ties = random() % 2 == 0 ? HalfwayTies::split : HalfwayTies::one_way;
    request.slices = random() % 3 == 0 ? 1 + static_cast<std::int64_t>(random() % 4) : 1;
    request.shift = static_cast<std::int64_t>(random() % 9) - 4;
    request.chunks = 1 + static_cast<std::int64_t>(random() % 5);
    INFO(shape_text(torus.shape()) << " " << name(op) << " round " << round);
    const Picoseconds simulated = time_of(request, torus);
    const Picoseconds theory = closed_form(request, v5p_links);
    const bool rings = op == CollectiveOp::all_gather || op == CollectiveOp::reduce_scatter ||
                       op == CollectiveOp::all_reduce;
    if (rings && request.parts.size() > 1) {
      CHECK(simulated.value() + 8 >= theory.value());
    } else {
      CHECK(std::abs(simulated.value() - theory.value()) <= 8);  // a picosecond a phase
    }
  }
}

TEST_CASE("all-gather on several equal axes is bound by all their links at once", "[collective]") {
  // N = 64: 63/64 x B / (6 x 90e9) + 9 us.
  const Torus torus = wrapped({4, 4, 4});
  const CollectiveRequest request = whole_axes(CollectiveOp::all_gather, torus, {0, 1, 2}, mib64);
  const double expected = 63.0 / 64 * 67'108'864 / (6 * 90e9) * 1e6 + 9;
  CHECK(us(time_of(request, torus)) == Approx(expected).margin(3e-6));  // 3 phases, rounded up
  CHECK(us(closed_form(request, v5p_links)) == Approx(expected).margin(1e-6));
}

TEST_CASE("on unequal axes chunks keep all axes busy", "[collective]") {
  // 4x8x8: with barriers between the stages some axis waits in each; chunks fill the gaps, and the
  // time falls towards (N-1)/N B / (6 w), but every chunk pays the latency of its stage.
  const Torus torus = wrapped({4, 8, 8});
  CollectiveRequest request = whole_axes(CollectiveOp::all_gather, torus, {0, 1, 2}, 16 * gib);
  const double bound = 255.0 / 256 * 16 * 1073741824 / (6 * 90e9);
  const double barriers = seconds(time_of(request, torus)) / bound;
  request.chunks = 64;
  const double chunked = seconds(time_of(request, torus)) / bound;
  CHECK(barriers > 1.01);
  CHECK(chunked < barriers);
  CHECK(chunked > 1);
}

TEST_CASE("a line takes twice a ring: everything crosses its ends", "[collective]") {
  // Line of n: (n-1)/n B / w in both directions at once; ring: half of that.
  const Torus line({8}, {false});
  CollectiveRequest request = whole_axes(CollectiveOp::all_gather, line, {0}, mib64);
  CHECK(us(time_of(request, line)) == Approx(7.0 / 8 * 67'108'864 / 90e9 * 1e6 + 7));
  CHECK(closed_form(request, v5p_links) == time_of(request, line));
  // All-to-all: the cut. floor(8/2) x 4 pairs of D / 8 each: 2 D / w, against D 8 / (8 w).
  request.op = CollectiveOp::all_to_all;
  CHECK(us(time_of(request, line)) == Approx(2 * 67'108'864 / 90e9 * 1e6 + 1));
}

TEST_CASE("groups on parts of axes", "[collective]") {
  const Torus torus({16}, {true});
  CollectiveRequest request;
  request.bytes = mib64;
  // Segments of 4 neighbours are lines: 3/4 B / w + 3 us.
  request.parts = {{0, 4, 1, false}};
  CHECK(us(time_of(request, torus)) == Approx(0.75 * 67'108'864 / 90e9 * 1e6 + 3));
  // Every 4th chip is a ring of 4 whose links 4 groups share: 4 x 3/4 B / 2w, 3 steps of 4 hops.
  request.parts = {{0, 4, 4, true}};
  CHECK(us(time_of(request, torus)) == Approx(4 * 0.75 * 67'108'864 / (2 * 90e9) * 1e6 + 12));
  CHECK(closed_form(request, v5p_links) == time_of(request, torus));
  // No link carries more or less than the others.
  const AxisLoad load = total_loads(phases(request, v5p_links, torus)).front();
  for (const double bytes : load.positive) CHECK(bytes == Approx(load.positive.front()));
}

TEST_CASE("several slices: DCN carries one chip's share", "[collective]") {
  // 4 chips a slice, 2 slices, B = 64 MiB. All-reduce: 2 x 1/2 x B/4 over DCN at 6.25e9 B/s.
  const Torus torus({4}, {true});
  CollectiveRequest request = ring(CollectiveOp::all_reduce, 4, mib64);
  const Picoseconds alone = time_of(request, torus);
  request.slices = 2;
  const double dcn_us = 67'108'864.0 / 4 / 6.25e9 * 1e6;
  CHECK(us(time_of(request, torus)) == Approx(us(alone) + dcn_us));
  CHECK(closed_form(request, v5p_links) == time_of(request, torus));
  // All-to-all: half of the payload is meant for the other slice.
  request.op = CollectiveOp::all_to_all;
  CHECK(us(time_of(request, torus)) ==
        Approx(us(time_of(ring(CollectiveOp::all_to_all, 4, mib64), torus)) +
               67'108'864.0 / 2 / 6.25e9 * 1e6));
}

TEST_CASE("chunks hide the latency of a ring", "[collective]") {
  // n = 8, one direction, shard s: 7 (1 us + s/w) whole. In C chunks the link never waits if
  // (C - 1) s / (C w) >= 1 us: then 7 s / w + 1 us.
  const Torus torus({8}, {true});
  CollectiveRequest request = ring(CollectiveOp::all_gather, 8, Bytes(8 * 900'000));  // s/w = 10 us
  request.both_directions = false;
  CHECK(us(time_of(request, torus)) == Approx(7 * 11));
  request.chunks = 4;
  CHECK(us(time_of(request, torus)) == Approx(71));
  // Short messages: s/w = 0.1 us, 4 chunks: 7 (1 + 0.025) + 3 x 0.025.
  request.bytes = Bytes(8 * 9'000);
  CHECK(us(time_of(request, torus)) == Approx(7 * 1.025 + 0.075));
  CHECK(closed_form(request, v5p_links) == time_of(request, torus));
}

TEST_CASE("small messages: latency alone", "[collective]") {
  const Torus torus = wrapped({4, 8, 8});
  CollectiveRequest request = whole_axes(CollectiveOp::all_to_all, torus, {0, 1, 2}, Bytes(256));
  // The farthest chip is 2 + 4 + 4 hops away; one byte takes 11.1 ps more.
  CHECK(time_of(request, torus) == Picoseconds(10'000'012));
  request.op = CollectiveOp::all_gather;
  request.bytes = Bytes(0);
  CHECK(time_of(request, torus) == Picoseconds(21'000'000));  // three stages, the longest 7 steps
}

TEST_CASE("the scaling book's formulas are limits of these", "[collective]") {
  // All-gather V / W, W = 2 w: reached as n grows: (n-1)/n of it, plus latency.
  for (const std::int64_t n : {4, 8, 16}) {
    const Torus torus({n}, {true});
    const double book = 1073741824.0 / (2 * 90e9);
    const double ratio = seconds(time_of(ring(CollectiveOp::all_gather, n, gib), torus)) / book;
    CHECK(ratio == Approx(static_cast<double>(n - 1) / static_cast<double>(n)).epsilon(0.003));
    // All-to-all: a quarter of the all-gather of n D; exact with split ties.
    CollectiveRequest all = ring(CollectiveOp::all_to_all, n, gib);
    all.ties = HalfwayTies::split;
    CHECK(seconds(time_of(all, torus)) / (book * static_cast<double>(n) / 4) ==
          Approx(1).epsilon(0.001));
    all.ties = HalfwayTies::one_way;
    CHECK(seconds(time_of(all, torus)) / (book * static_cast<double>(n) / 4) ==
          Approx(static_cast<double>(n + 2) / static_cast<double>(n)).epsilon(0.001));
  }
}

TEST_CASE("nonsense is refused", "[collective]") {
  const Torus torus({4, 4}, {true, false});
  const auto refused = [&](const CollectiveRequest& request, const NetworkSpeed& speed) {
    return refusal([&] { phases(request, speed, torus); }).kind() == ErrorKind::invalid_input;
  };
  CollectiveRequest fine = whole_axes(CollectiveOp::all_gather, torus, {0, 1}, mib64);
  CollectiveRequest request = fine;
  request.both_directions = false;
  CHECK(refused(request, v5p_links));  // axis 1 is a line
  request = fine;
  request.parts.clear();
  CHECK(refused(request, v5p_links));
  request = fine;
  request.bytes = Bytes(-1);
  CHECK(refused(request, v5p_links));
  request = fine;
  request.chunks = 0;
  CHECK(refused(request, v5p_links));
  NetworkSpeed dead = v5p_links;
  dead.link = BytesPerSecond(0);
  CHECK(refused(fine, dead));
  CHECK(refusal([] { collective_op("all-gathr"); }).diagnostics().front().hint ==
        "did you mean all-gather?");
}
