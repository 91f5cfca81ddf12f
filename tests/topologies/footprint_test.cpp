#include "topologies/footprint.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

using Sizes = std::vector<std::int64_t>;

AxisFootprint footprint_of(const Sizes& physical, const Sizes& logical, std::size_t axis,
                           bool wraps) {
  const Torus torus(physical, std::vector<bool>(physical.size(), wraps));
  return footprints(assign_mesh(physical, logical, true), torus)[axis];
}

// The oracle: a member walks along each physical axis to the next chip of its own group, and the
// links of the walk count if no other way to that chip is shorter.
std::set<LinkId> walked_links(const MeshAssignment& mesh, const Torus& torus,
                              std::size_t logical_axis) {
  // group[chip]: its place in the logical mesh without the coordinate on logical_axis.
  std::int64_t inner = 1;
  for (std::size_t l = logical_axis + 1; l < mesh.logical.size(); ++l) inner *= mesh.logical[l];
  Sizes group(mesh.device_order.size());
  for (std::size_t flat = 0; flat < group.size(); ++flat) {
    const auto place = static_cast<std::int64_t>(flat);
    group[static_cast<std::size_t>(mesh.device_order[flat])] =
        place % inner + place / (inner * mesh.logical[logical_axis]) * inner;
  }
  std::set<LinkId> links;
  for (ChipId start = 0; start < torus.chips(); ++start) {
    for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) {
      for (const Direction direction : {Direction::positive, Direction::negative}) {
        std::vector<LinkId> walk;
        ChipId at = start;
        do {
          const std::optional<LinkId> next = torus.find_link(at, axis, direction);
          if (!next) break;
          walk.push_back(*next);
          at = torus.link(*next).to;
        } while (group[static_cast<std::size_t>(at)] != group[static_cast<std::size_t>(start)]);
        const bool arrived = at != start && group[static_cast<std::size_t>(at)] ==
                                                group[static_cast<std::size_t>(start)];
        if (arrived && static_cast<std::int64_t>(walk.size()) == torus.distance(start, at)) {
          links.insert(walk.begin(), walk.end());
        }
      }
    }
  }
  return links;
}

}  // namespace

TEST_CASE("a whole axis is a ring of all its links", "[footprint]") {
  // 4x8x8, logical (1, 32, 8): the 8 takes axis 1, the 32 takes axes 0 and 2.
  const AxisFootprint eight = footprint_of({4, 8, 8}, {1, 32, 8}, 2, true);
  REQUIRE(eight.physical.size() == 1);
  CHECK(eight.physical[0].axis == 1);
  CHECK(eight.physical[0].part == 8);
  CHECK(eight.physical[0].stride == 1);
  CHECK(eight.physical[0].wraparound);
  CHECK(eight.links.size() == 256 * 2);  // each chip's + and - link of one axis
  const AxisFootprint rest = footprint_of({4, 8, 8}, {1, 32, 8}, 1, true);
  CHECK(rest.physical.size() == 2);
  CHECK(rest.links.size() == 256 * 4);
  const AxisFootprint one = footprint_of({4, 8, 8}, {1, 32, 8}, 0, true);
  CHECK(one.physical.empty());
  CHECK(one.links.empty());
}

TEST_CASE("an axis that is shared splits into segments and strided rings", "[footprint]") {
  // A ring of 8, logical (2, 4): the 4 is inner, chips {0..3} and {4..7}; the 2 joins c and c + 4.
  const AxisFootprint inner = footprint_of({8}, {2, 4}, 1, true);
  CHECK(inner.physical[0].stride == 1);
  CHECK_FALSE(inner.physical[0].wraparound);
  CHECK(inner.links.size() == 2 * 2 * 3);  // two segments of three cables, both ways
  const AxisFootprint outer = footprint_of({8}, {2, 4}, 0, true);
  CHECK(outer.physical[0].stride == 4);
  CHECK(outer.physical[0].wraparound);
  CHECK(outer.links.size() == 2 * 8);  // half-way round both ways: every link
  // On a line the outer axis cannot close, but still crosses all seven cables.
  const AxisFootprint line = footprint_of({8}, {2, 4}, 0, false);
  CHECK_FALSE(line.physical[0].wraparound);
  CHECK(line.links.size() == 2 * 7);
  // Three axes: (2, 2, 2); the middle one joins c and c + 2 inside {0..3} and {4..7}.
  const AxisFootprint middle = footprint_of({8}, {2, 2, 2}, 1, true);
  CHECK(middle.physical[0].stride == 2);
  CHECK_FALSE(middle.physical[0].wraparound);
  CHECK(middle.links.size() == 2 * 2 * 3);
}

TEST_CASE("footprints are the links that walks between members cross", "[footprint]") {
  constexpr std::array<std::int64_t, 6> sizes{2, 3, 4, 6, 8, 12};
  std::mt19937_64 random(23);
  for (int round = 0; round < 150; ++round) {
    Sizes physical(1 + random() % 3);
    std::vector<bool> wraps;
    for (std::int64_t& size : physical) {
      size = sizes[random() % sizes.size()];
      wraps.push_back(random() % 2 == 0);
    }
    Sizes logical(1 + random() % 4, 1);
    for (const std::int64_t size : physical) {
      std::int64_t rest = size;
      for (const std::int64_t prime : {2, 3}) {
        for (; rest % prime == 0; rest /= prime) logical[random() % logical.size()] *= prime;
      }
    }
    const Torus torus(physical, wraps);
    const MeshAssignment mesh = assign_mesh(physical, logical, true);
    const std::vector<AxisFootprint> all = footprints(mesh, torus);
    REQUIRE(all.size() == logical.size());
    for (const AxisFootprint& footprint : all) {
      INFO(shape_text(physical) << " / " << shape_text(logical) << " axis "
                                << footprint.logical_axis);
      const std::set<LinkId> expected = walked_links(mesh, torus, footprint.logical_axis);
      REQUIRE(footprint.links == std::vector<LinkId>(expected.begin(), expected.end()));
    }
  }
}

TEST_CASE("the two devices of a chip have no ICI link between them", "[footprint]") {
  const Slice slice = slice_by_name("tpu7x-128");
  const MeshAssignment mesh = assign_mesh(device_mesh_shape(slice), Sizes{64, 2}, false);
  const std::vector<AxisFootprint> all = footprints(mesh, Torus(slice));
  CHECK(all[1].physical[0].axis == 3);
  CHECK_FALSE(all[1].physical[0].wraparound);
  CHECK(all[1].links.empty());
  CHECK(all[0].links.size() == 64 * 6);
}

TEST_CASE("a mesh of another box is refused", "[footprint]") {
  const MeshAssignment mesh = assign_mesh(Sizes{4, 8}, Sizes{32}, false);
  const Error error = refusal([&] { footprints(mesh, Torus({8, 4}, {true, true})); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK_THROWS_AS(footprints(mesh, Torus({4, 8, 2}, {true, true, true})), Error);
}
