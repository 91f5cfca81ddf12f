#include "sim/network/byte_matrix.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "sim/network/flow_simulation.hpp"
#include "tests/network/network_cases.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

ByteMatrix random_matrix(std::mt19937_64& random, std::int64_t size) {
  ByteMatrix matrix{size, {}};
  for (std::int64_t i = 0; i < size * size; ++i)
    matrix.bytes.push_back(random() % 4 == 0 ? 0 : static_cast<std::int64_t>(random() % 1'000'000));
  return matrix;
}

std::string complaint(const std::string& text, std::int64_t size) {
  const Error error = refusal([&] { parse_byte_matrix({"bytes.csv", text}, size); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

}  // namespace

TEST_CASE("prefix sums a ring give the loads of every message laid on its links", "[matrix]") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    const Torus torus = random_torus(random);
    const HalfwayTies ties = round % 2 == 0 ? HalfwayTies::one_way : HalfwayTies::split;
    INFO(shape_text(torus.shape()) << " round " << round);
    const ByteMatrix matrix = random_matrix(random, torus.chips());
    std::vector<double> naive(static_cast<std::size_t>(torus.links()));
    for (ChipId from = 0; from < torus.chips(); ++from) {
      for (ChipId to = 0; to < torus.chips(); ++to) {
        for (const LinkShare& share : torus.shares(from, to, {ties, {}}))
          naive[static_cast<std::size_t>(share.link)] +=
              share.share * static_cast<double>(matrix.at(from, to));
      }
    }
    const MatrixLoads loads = matrix_loads(matrix, torus, ties);
    for (std::size_t link = 0; link < naive.size(); ++link)
      REQUIRE(loads.bytes[link] == naive[link]);  // halves of integers: exact
  }
}

TEST_CASE("a uniform matrix loads links as the uniform collective does", "[matrix]") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 40; ++round) {
    const Torus torus = random_torus(random);
    std::vector<std::size_t> axes;
    for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) axes.push_back(axis);
    const std::int64_t chips = torus.chips();
    const CollectiveRequest request =
        whole_axes(CollectiveOp::all_to_all, torus, axes, Bytes(chips * 4096));
    const ByteMatrix matrix{
        chips, std::vector<std::int64_t>(static_cast<std::size_t>(chips * chips), 4096)};
    const MatrixLoads loads = matrix_loads(matrix, torus);
    for (const AxisLoad& load : total_loads(phases(request, v5p_links, torus))) {
      for (LinkId id = 0; id < torus.links(); ++id) {
        const Link& link = torus.link(id);
        if (link.axis != load.axis) continue;
        const auto at = static_cast<std::size_t>(torus.coordinate(link.from, link.axis));
        REQUIRE(
            loads.bytes[static_cast<std::size_t>(id)] ==
            Approx(link.direction == Direction::positive ? load.positive[at] : load.negative[at]));
      }
    }
  }
}

TEST_CASE("the makespan from loads is a bound, met when transfers are paced by their bytes",
          "[matrix]") {
  std::mt19937_64 random(6);
  const Torus torus({4, 4}, {true, true});
  NetworkSpeed speed = v5p_links;
  speed.hop_latency = Picoseconds(0);
  for (int round = 0; round < 20; ++round) {
    const ByteMatrix matrix = random_matrix(random, 16);
    const Picoseconds bound =
        makespan_from_loads(matrix, matrix_loads(matrix, torus), torus, speed);
    FlowSet flows;
    MaxMinSystem paced(
        std::vector<double>(static_cast<std::size_t>(torus.links()), speed.link.value()));
    std::vector<std::pair<ActivityId, double>> sent;
    for (ChipId from = 0; from < 16; ++from) {
      for (ChipId to = 0; to < 16; ++to) {
        const auto bytes = static_cast<double>(matrix.at(from, to));
        std::vector<Demand> demands;
        std::vector<ResourceId> route;
        for (const LinkId link : torus.route(from, to)) {
          route.push_back(static_cast<ResourceId>(link));
          demands.push_back({route.back()});
        }
        flows.add(bytes, Picoseconds(0), route);
        if (bytes > 0 && !route.empty()) sent.emplace_back(paced.add(demands, bytes), bytes);
      }
    }
    const std::vector<BytesPerSecond> capacity(static_cast<std::size_t>(torus.links()), speed.link);
    CHECK(simulate_flows(capacity, flows).makespan.value() + 1 >= bound.value());
    paced.solve();
    double last = 0;
    for (const auto& [activity, bytes] : sent) last = std::max(last, bytes / paced.rate(activity));
    CHECK(std::abs(last - seconds(bound)) <= 1.01e-12);  // rounded up to a picosecond
  }
}

TEST_CASE("matrices from JSON and CSV", "[matrix]") {
  const std::vector<std::int64_t> expected{0, 1, 2, 9007199254740992};
  CHECK(parse_byte_matrix({"m", "[[0,1],\n[2, 9007199254740992]]\n"}, 2).bytes == expected);
  CHECK(parse_byte_matrix({"m", "0,1\n2, 9007199254740992\n"}, 2).bytes == expected);
  CHECK(parse_byte_matrix({"m", "0,1\n2,9007199254740992"}, 2).bytes == expected);
}

TEST_CASE("faults of a matrix have a place", "[matrix]") {
  const auto says = [](const std::string& text, const std::string& what) {
    const std::string message = complaint(text, 2);
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
  };
  says("0,1\n2\n", "bytes.csv:2:1: error: [1]: must have 2 entries");
  says("0,1\n2,3,4\n", "bytes.csv:2:1: error: [1]: must have 2 entries");
  says("0,1\n", "must have 2 rows");
  says("0,1\n2,3\n4,5\n", "must have 2 rows");
  says("", "must have 2 rows");
  says("0,1\n\n2,3\n", "bytes.csv:2:1: error: [1][0]");
  says("0,1\n-2,3\n", "bytes.csv:2:1: error: [1][0]: must be at least 0 (got -2)");
  says("0,1\n2,18446744073709551616\n", "bytes.csv:2:3: error: [1][1]");
  says("0,1\n2,9007199254740993\n", "bytes.csv:2:3: error: [1][1]");
  says("0,1\n2,1e3\n", "[1][1]");
  says("0,1\n2,x\n", "[1][1]");
  says("0,1\r\n2,3\r\n", "bytes.csv:1");
  says("[[0,1],[2,-3]]", "bytes.csv:1:11: error: [1][1]: must be at least 0 (got -3)");
  says("[[0,1],[2]]", "bytes.csv:1:8: error: [1]: must have 2 entries");
  says("[[0,1],[2,\"3\"]]", "[1][1]");
  says("[[0,1],7]", "must be a row");
  says("{}", "must be a list of rows");
}

TEST_CASE("a matrix whose sum would not be exact is refused", "[matrix]") {
  // 520 of 2^53 are more than 2^62 = 512 x 2^53.
  std::string row, text;
  for (int i = 0; i < 23; ++i) row += std::string(i > 0 ? "," : "") + "9007199254740992";
  for (int i = 0; i < 23; ++i) text += row + "\n";  // 529
  CHECK(complaint(text, 23).find("2^62") != std::string::npos);
}
