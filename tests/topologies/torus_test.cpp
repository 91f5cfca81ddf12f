#include "topologies/torus.hpp"

#include <algorithm>
#include <boost/graph/breadth_first_search.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

using Shape = std::vector<std::int64_t>;
using Flags = std::vector<bool>;

const std::vector<std::pair<Shape, Flags>> tori = {
    {{4, 4, 4}, {true, true, true}},
    {{2, 2, 4}, {false, false, false}},
    {{4, 8, 8}, {true, true, true}},
    {{8, 16}, {false, true}},
    {{5, 3}, {true, true}},
    {{2, 6, 1}, {true, true, true}},
    {{7}, {false}},
    {{1, 1, 1}, {true, true, true}},
    {{2, 3, 4, 2}, {false, true, true, true}},
};

// Distances from one chip, by breadth-first search over the links: knows nothing of coordinates.
std::vector<std::int64_t> searched_distances(const Torus& torus, ChipId from) {
  std::vector<std::int64_t> distances(static_cast<std::size_t>(torus.chips()), 0);
  boost::breadth_first_search(torus.graph(), static_cast<std::size_t>(from),
                              boost::visitor(boost::make_bfs_visitor(boost::record_distances(
                                  distances.data(), boost::on_tree_edge()))));
  return distances;
}

// The chip that a chain of links leads to; fails if it is not a chain, or an axis comes back.
ChipId followed(const Torus& torus, ChipId from, const std::vector<LinkId>& links,
                const std::vector<std::size_t>& axis_order) {
  auto at = static_cast<std::uint32_t>(from);
  auto axis = axis_order.begin();
  for (const LinkId id : links) {
    const Link& link = torus.link(id);
    REQUIRE(link.from == at);
    axis = std::find(axis, axis_order.end(), link.axis);
    REQUIRE(axis != axis_order.end());
    at = link.to;
  }
  return at;
}

std::vector<std::size_t> counting(std::size_t rank) {
  std::vector<std::size_t> order;
  for (std::size_t axis = 0; axis < rank; ++axis) order.push_back(axis);
  return order;
}

}  // namespace

TEST_CASE("each axis gives every chip its links in and out", "[torus]") {
  for (const auto& [shape, wraps] : tori) {
    const Torus torus(shape, wraps);
    INFO(shape_text(shape));
    std::vector<int> in(static_cast<std::size_t>(torus.chips()));
    std::vector<int> out = in;
    for (LinkId id = 0; id < torus.links(); ++id) {
      ++out[torus.link(id).from];
      ++in[torus.link(id).to];
      CHECK(torus.find_link(torus.link(id).from, torus.link(id).axis, torus.link(id).direction) ==
            id);
    }
    for (ChipId chip = 0; chip < torus.chips(); ++chip) {
      int expected = 0;
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        const std::int64_t place = torus.coordinate(chip, axis);
        if (shape[axis] == 1) continue;
        const bool at_end = place == 0 || place == shape[axis] - 1;
        expected += at_end && !wraps[axis] ? 1 : 2;
      }
      CHECK(out[static_cast<std::size_t>(chip)] == expected);
      CHECK(in[static_cast<std::size_t>(chip)] == expected);
    }
  }
}

TEST_CASE("links are counted as the header says", "[torus]") {
  CHECK(Torus({4, 8, 8}, {true, true, true}).links() == 256 * 6);
  CHECK(Torus({7}, {false}).links() == 2 * 6);
  CHECK(Torus({1}, {true}).links() == 0);
  CHECK(Torus({2}, {false}).links() == 2);
  const Torus pair({2}, {true});  // two parallel links each way
  CHECK(pair.links() == 4);
  CHECK(pair.link(*pair.find_link(0, 0, Direction::positive)).to == 1);
  CHECK(pair.link(*pair.find_link(0, 0, Direction::negative)).to == 1);
  CHECK_FALSE(Torus({3}, {false}).find_link(2, 0, Direction::positive).has_value());
  CHECK_FALSE(pair.find_link(2, 0, Direction::positive).has_value());
}

TEST_CASE("chips count row-major, the last axis fastest", "[torus]") {
  const Torus torus({4, 8, 8}, {true, true, true});
  CHECK(torus.chip_at(Shape{1, 2, 3}) == (1 * 8 + 2) * 8 + 3);
  CHECK(torus.coordinate(83, 0) == 1);
  CHECK(torus.coordinate(83, 1) == 2);
  CHECK(torus.coordinate(83, 2) == 3);
}

TEST_CASE("routes are shortest, connected and ordered by axis", "[torus]") {
  for (const auto& [shape, wraps] : tori) {
    const Torus torus(shape, wraps);
    INFO(shape_text(shape));
    std::vector<std::size_t> backwards = counting(shape.size());
    std::reverse(backwards.begin(), backwards.end());
    for (ChipId from = 0; from < torus.chips(); from += 3) {
      const std::vector<std::int64_t> distances = searched_distances(torus, from);
      for (ChipId to = 0; to < torus.chips(); ++to) {
        const std::int64_t shortest = distances[static_cast<std::size_t>(to)];
        const std::vector<LinkId> route = torus.route(from, to);
        REQUIRE(static_cast<std::int64_t>(route.size()) == shortest);
        REQUIRE(torus.distance(from, to) == shortest);
        REQUIRE(followed(torus, from, route, counting(shape.size())) == to);
        const std::vector<LinkId> other = torus.route(from, to, backwards);
        REQUIRE(static_cast<std::int64_t>(other.size()) == shortest);
        REQUIRE(followed(torus, from, other, backwards) == to);
      }
    }
  }
}

TEST_CASE("half-way ties go the positive way, or are split", "[torus]") {
  const Torus ring({8}, {true});
  for (const LinkId id : ring.route(3, 7)) CHECK(ring.link(id).direction == Direction::positive);
  for (const LinkId id : ring.route(7, 3)) CHECK(ring.link(id).direction == Direction::positive);
  for (const LinkId id : ring.route(3, 0)) CHECK(ring.link(id).direction == Direction::negative);
  const std::vector<Path> halves = ring.paths(3, 7, {HalfwayTies::split, {}});
  REQUIRE(halves.size() == 2);
  CHECK(halves[0].weight == 0.5);
  CHECK(halves[0].links.size() == 4);
  CHECK(ring.link(halves[0].links[0]).direction == Direction::positive);
  CHECK(ring.link(halves[1].links[0]).direction == Direction::negative);
  // No tie: 3 hops against 5. No tie on an odd ring. No other way on a line.
  CHECK(ring.paths(0, 3, {HalfwayTies::split, {}}).size() == 1);
  CHECK(Torus({5}, {true}).paths(0, 2, {HalfwayTies::split, {}}).size() == 1);
  CHECK(Torus({2}, {false}).paths(0, 1, {HalfwayTies::split, {}}).size() == 1);
  CHECK(Torus({2}, {true}).paths(0, 1, {HalfwayTies::split, {}}).size() == 2);
  // The far corner of 4x4x4 is half-way on each axis: 2^3 ways of 1/8.
  const Torus cube({4, 4, 4}, {true, true, true});
  const std::vector<Path> eight = cube.paths(0, 42, {HalfwayTies::split, {}});  // (2, 2, 2)
  CHECK(eight.size() == 8);
  for (const Path& path : eight) CHECK(path.weight == 0.125);
}

TEST_CASE("a split route conserves its bytes and its shares are those of its paths", "[torus]") {
  for (const auto& [shape, wraps] : tori) {
    const Torus torus(shape, wraps);
    INFO(shape_text(shape));
    for (const HalfwayTies ties : {HalfwayTies::one_way, HalfwayTies::split}) {
      for (ChipId to = 0; to < torus.chips(); ++to) {
        const Routing routing{ties, {}};
        double whole = 0;
        std::map<LinkId, double> load;
        for (const Path& path : torus.paths(1 % torus.chips(), to, routing)) {
          whole += path.weight;
          for (const LinkId link : path.links) load[link] += path.weight;
          REQUIRE(followed(torus, 1 % torus.chips(), path.links, counting(shape.size())) == to);
        }
        REQUIRE(whole == 1.0);  // sums of powers of 1/2 are exact
        std::map<LinkId, double> shares;
        for (const LinkShare& share : torus.shares(1 % torus.chips(), to, routing)) {
          REQUIRE(shares.emplace(share.link, share.share).second);
        }
        REQUIRE(shares == load);
      }
    }
  }
}

TEST_CASE("splitting ties balances a uniform all-to-all on an even ring", "[torus]") {
  // Ring of n = 8, one unit for each ordered pair: each direction carries, per link,
  // 1 + 2 + 3 hops = 6 units of the pairs nearer than half-way, and of the tie 4 hops x 1/2 = 2;
  // one way, all 4 hops of the tie fall on the positive links.
  const Torus ring({8}, {true});
  const auto load_of = [&](HalfwayTies ties, Direction direction) {
    double load = 0;
    for (ChipId from = 0; from < 8; ++from) {
      for (ChipId to = 0; to < 8; ++to) {
        for (const LinkShare& share : ring.shares(from, to, {ties, {}})) {
          if (share.link == *ring.find_link(5, 0, direction)) load += share.share;
        }
      }
    }
    return load;
  };
  CHECK(load_of(HalfwayTies::split, Direction::positive) == 6 + 2);
  CHECK(load_of(HalfwayTies::split, Direction::negative) == 6 + 2);
  CHECK(load_of(HalfwayTies::one_way, Direction::positive) == 6 + 4);
  CHECK(load_of(HalfwayTies::one_way, Direction::negative) == 6);
}

TEST_CASE("relabelled axes give relabelled routes", "[torus]") {
  const Torus torus({4, 6, 3}, {true, true, false});
  const Torus turned({3, 4, 6}, {false, true, true});  // axis a of torus is axis (a + 1) % 3 here
  const auto image = [&](ChipId chip) {
    return turned.chip_at(
        Shape{torus.coordinate(chip, 2), torus.coordinate(chip, 0), torus.coordinate(chip, 1)});
  };
  const std::vector<std::size_t> same_order{1, 2, 0};  // torus axes 0, 1, 2
  for (ChipId from = 0; from < torus.chips(); from += 5) {
    for (ChipId to = 0; to < torus.chips(); ++to) {
      const std::vector<LinkId> route = torus.route(from, to);
      const std::vector<LinkId> there = turned.route(image(from), image(to), same_order);
      REQUIRE(route.size() == there.size());
      for (std::size_t hop = 0; hop < route.size(); ++hop) {
        const Link& link = torus.link(route[hop]);
        REQUIRE(turned.find_link(image(link.from), (link.axis + 1U) % 3, link.direction) ==
                there[hop]);
      }
    }
  }
}

TEST_CASE("impossible tori, chips and orders are refused", "[torus]") {
  CHECK_THROWS_AS(Torus({}, {}), Error);
  CHECK_THROWS_AS(Torus({4, 4}, {true}), Error);
  CHECK_THROWS_AS(Torus({4, 0}, {true, true}), Error);
  CHECK_THROWS_AS(Torus({-4}, {true}), Error);
  CHECK_THROWS_AS(Torus({std::int64_t{1} << 40, std::int64_t{1} << 40}, {true, true}), Error);
  CHECK_THROWS_AS(Torus({2, 2, 2, 2, 2}, {true, true, true, true, true}), Error);
  const Torus torus({4, 4}, {true, true});
  CHECK_THROWS_AS(torus.route(0, 16), Error);
  CHECK_THROWS_AS(torus.distance(-1, 0), Error);
  CHECK_THROWS_AS(torus.route(0, 1, std::vector<std::size_t>{0}), Error);
  CHECK_THROWS_AS(torus.route(0, 1, std::vector<std::size_t>{0, 0}), Error);
  CHECK_THROWS_AS(torus.route(0, 1, std::vector<std::size_t>{0, 2}), Error);
}
