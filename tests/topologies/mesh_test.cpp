#include "topologies/mesh.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "tests/refusal.hpp"
#include "topologies/mesh_search.hpp"

using namespace meshsim;

namespace {

using Sizes = std::vector<std::int64_t>;

std::int64_t product(const Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t checksum(const Sizes& order) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    sum = (sum + static_cast<std::int64_t>(i + 1) * order[i]) % 1'000'003;
  }
  return sum;
}

nlohmann::json crosscheck() {
  std::ifstream file(MESHSIM_TEST_DATA "/mesh_assignment.json");
  return nlohmann::json::parse(file);
}

// Random logical degrees of a random box: prime factors dealt out to the axes.
struct Case {
  Sizes physical;
  Sizes logical;
};

Case random_case(std::mt19937_64& random) {
  constexpr std::array<std::int64_t, 8> sizes{1, 2, 4, 6, 8, 12, 16, 20};
  Case drawn{Sizes(1 + random() % 4), Sizes(1 + random() % 5, 1)};
  for (std::int64_t& size : drawn.physical) size = sizes[random() % sizes.size()];
  std::int64_t rest = product(drawn.physical);
  for (std::int64_t prime = 2; rest > 1; ++prime) {
    for (; rest % prime == 0; rest /= prime)
      drawn.logical[random() % drawn.logical.size()] *= prime;
  }
  return drawn;
}

// The oracle of the split search: every tuple of parts in one flat list, sorted by the rule.
Sizes naive_parts(const Sizes& physical, const Sizes& left, std::int64_t size) {
  using Key = std::array<std::int64_t, 3>;
  std::vector<std::pair<Key, Sizes>> all;
  for (std::int64_t code = 0; code < product(left); ++code) {
    Sizes parts;
    std::int64_t rest = code;
    for (const std::int64_t most : left) {
      parts.push_back(1 + rest % most);
      rest /= most;
    }
    bool divides = product(parts) == size;
    Key key{1, 0, 1};
    for (std::size_t p = 0; p < parts.size(); ++p) {
      divides = divides && left[p] % parts[p] == 0;
      if (parts[p] == physical[p] && parts[p] > 1) {
        key[0] *= parts[p];
        ++key[1];
      }
      if (left[p] < physical[p]) key[2] *= parts[p];
    }
    if (divides) all.emplace_back(key, parts);
  }
  return std::max_element(all.begin(), all.end())->second;
}

// The device at each logical place, by coordinates: the reshape and transpose of the definition.
Sizes order_by_coordinates(const MeshAssignment& mesh) {
  Sizes order(mesh.device_order.size());
  for (std::int64_t device = 0; device < product(mesh.physical); ++device) {
    Sizes place(mesh.logical.size(), 0);  // logical coordinates
    Sizes scale(mesh.logical.size(), 1);
    std::int64_t rest = device;
    for (std::size_t p = mesh.physical.size(); p-- > 0;) {
      std::int64_t along = rest % mesh.physical[p];
      rest /= mesh.physical[p];
      for (std::size_t l = mesh.logical.size(); l-- > 0;) {
        const std::int64_t part = mesh.assignment[p][l];
        place[l] += along % part * scale[l];
        scale[l] *= part;
        along /= part;
      }
    }
    std::int64_t flat = 0;
    for (std::size_t l = 0; l < place.size(); ++l) flat = flat * mesh.logical[l] + place[l];
    order[static_cast<std::size_t>(flat)] = device;
  }
  return order;
}

std::string message_for(const Sizes& physical, const Sizes& logical, bool split) {
  return refusal([&] { assign_mesh(physical, logical, split); }).what();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("meshes are assigned as JAX assigns them", "[mesh]") {
  int refused = 0;
  const nlohmann::json cases = crosscheck().at("cases");
  CHECK(cases.size() > 150);
  for (const nlohmann::json& expected : cases) {
    INFO(expected.at("physical") << " " << expected.at("logical") << " "
                                 << expected.at("allow_split_physical_axes"));
    const auto physical = expected.at("physical").get<Sizes>();
    const auto logical = expected.at("logical").get<Sizes>();
    const bool split = expected.at("allow_split_physical_axes").get<bool>();
    if (expected.value("refused", false)) {
      ++refused;
      CHECK(refusal([&] { assign_mesh(physical, logical, split); }).kind() ==
            ErrorKind::invalid_input);
      continue;
    }
    const MeshAssignment mesh = assign_mesh(physical, logical, split);
    CHECK(mesh.assignment == expected.at("assignment").get<Assignment>());
    CHECK(checksum(mesh.device_order) == expected.at("device_order_checksum").get<std::int64_t>());
    const auto first = expected.at("first_devices").get<Sizes>();
    REQUIRE(first.size() <= mesh.device_order.size());
    CHECK(std::equal(first.begin(), first.end(), mesh.device_order.begin()));
  }
  CHECK(refused > 40);
}

TEST_CASE("an assignment uses every part once, and orders devices by it", "[mesh]") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 400; ++round) {
    const Case drawn = random_case(random);
    const MeshAssignment mesh = assign_mesh(drawn.physical, drawn.logical, true);
    for (std::size_t p = 0; p < drawn.physical.size(); ++p) {
      REQUIRE(product(mesh.assignment[p]) == drawn.physical[p]);
    }
    for (std::size_t l = 0; l < drawn.logical.size(); ++l) {
      std::int64_t size = 1;
      for (const Sizes& row : mesh.assignment) size *= row[l];
      REQUIRE(size == drawn.logical[l]);
    }
    REQUIRE(mesh.device_order == order_by_coordinates(mesh));
  }
}

TEST_CASE("split parts are the best of all ways", "[mesh]") {
  std::mt19937_64 random(13);
  for (int round = 0; round < 300; ++round) {
    const Case drawn = random_case(random);
    if (product(drawn.physical) > 4096) continue;
    const Assignment assignment = place_split_axes(drawn.physical, drawn.logical);
    Sizes left = drawn.physical;
    for (std::size_t l = drawn.logical.size(); l-- > 0;) {
      Sizes parts;
      for (const Sizes& row : assignment) parts.push_back(row[l]);
      REQUIRE(parts == naive_parts(drawn.physical, left, drawn.logical[l]));
      for (std::size_t p = 0; p < left.size(); ++p) left[p] /= parts[p];
    }
  }
}

TEST_CASE("splitting changes nothing where whole axes fit", "[mesh]") {
  std::mt19937_64 random(17);
  int fitting = 0;
  for (int round = 0; round < 2000; ++round) {
    const Case drawn = random_case(random);
    const WholeAxes whole = place_whole_axes(drawn.physical, drawn.logical);
    if (whole.refused) continue;
    ++fitting;
    REQUIRE(place_split_axes(drawn.physical, drawn.logical) == whole.assignment);
  }
  CHECK(fitting > 100);
}

TEST_CASE("a renamed equal axis changes nothing but its name", "[mesh]") {
  // On a cube, the choice falls on the first free axis: least intense last.
  const MeshAssignment mesh = assign_mesh(Sizes{4, 4, 4}, Sizes{4, 4, 4}, false);
  CHECK(mesh.assignment == Assignment{{1, 1, 4}, {1, 4, 1}, {4, 1, 1}});
  // Where sizes name the axes, turning the box turns the rows of the assignment with it.
  const Assignment rows = assign_mesh(Sizes{4, 8, 16}, Sizes{16, 4, 8}, false).assignment;
  CHECK(assign_mesh(Sizes{8, 16, 4}, Sizes{16, 4, 8}, false).assignment ==
        Assignment{rows[1], rows[2], rows[0]});
  // Logical axes of size 1 take nothing, wherever they stand.
  CHECK(assign_mesh(Sizes{4, 8, 16}, Sizes{1, 16, 1, 4, 8, 1}, false).device_order ==
        assign_mesh(Sizes{4, 8, 16}, Sizes{16, 4, 8}, false).device_order);
}

TEST_CASE("a refusal names the axis, what is left and what would fit", "[mesh]") {
  const std::string split = message_for({4, 4, 4}, {2, 8, 4}, false);
  CHECK(has(split, "logical axis 1 of size 8"));
  CHECK(has(split, "4x4 is left of 4x4x4"));
  CHECK(has(split, "allow_split_physical_axes=true"));
  CHECK(has(split, "fit: 1,16,4"));  // (2, 8) -> (1, 16): one doubling and one halving
  const std::string count = message_for({4, 8, 8}, {1, 32, 4}, true);
  CHECK(has(count, "1 x 32 x 4 = 128 devices"));
  CHECK(has(count, "has 256"));
  CHECK(has(count, "logical axis 1 = 64"));
  CHECK(has(message_for({4, 4}, {-1, 16}, true), "logical axis 0 must be at least 1 (got -1)"));
  CHECK(has(message_for({0, 4}, {1}, true), "physical axis 0"));
  // Whole axes are taken three at most: half of a tpu7x cube, and what its 4 axes need.
  CHECK(has(message_for({4, 4, 4, 2}, {1, 128}, false), "fit: 2,64"));
  CHECK_FALSE(has(message_for({4, 4, 4, 2}, {128}, false), "fit:"));
}

TEST_CASE("the degrees of a hint are accepted", "[mesh]") {
  std::mt19937_64 random(19);
  for (int round = 0; round < 200; ++round) {
    const Case drawn = random_case(random);
    if (!place_whole_axes(drawn.physical, drawn.logical).refused) continue;
    const Sizes fits = nearest_whole_degrees(drawn.physical, drawn.logical);
    if (fits.empty()) {  // more whole axes than three to each logical axis
      const auto beyond_one =
          drawn.physical.size() -
          static_cast<std::size_t>(std::count(drawn.physical.begin(), drawn.physical.end(), 1));
      REQUIRE(beyond_one > 3 * drawn.logical.size());
      continue;
    }
    REQUIRE(product(fits) == product(drawn.physical));
    REQUIRE_NOTHROW(assign_mesh(drawn.physical, fits, false));
  }
}

TEST_CASE("impossible meshes are refused", "[mesh]") {
  CHECK_THROWS_AS(assign_mesh(Sizes{}, Sizes{1}, true), Error);
  CHECK_THROWS_AS(assign_mesh(Sizes{1}, Sizes{}, true), Error);
  CHECK_THROWS_AS(assign_mesh(Sizes{1, 1, 1, 1, 1}, Sizes{1}, true), Error);
  CHECK_THROWS_AS(assign_mesh(Sizes{1}, Sizes(17, 1), true), Error);
  const std::int64_t huge = std::int64_t{1} << 40;
  CHECK(has(message_for({huge, huge}, {huge, huge}, true), "exceeds"));
  CHECK_THROWS_AS(assign_mesh(Sizes{huge}, Sizes{huge}, true), Error);
}

TEST_CASE("twelve axes on a full pod are placed in well under a millisecond", "[mesh]") {
  const Sizes pod{16, 20, 28};  // 2^8 x 5 x 7 = 8960
  const Sizes logical{2, 2, 2, 2, 2, 2, 2, 5, 7, 2, 1, 1};
  const auto start = std::chrono::steady_clock::now();
  constexpr int rounds = 20;
  for (int round = 0; round < rounds; ++round) assign_mesh(pod, logical, true);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(took.count() / rounds < 0.05);  // measured 0.0001 s; the margin is for sanitizers
}

TEST_CASE("several slices: DCN degrees stand outside, axis by axis", "[mesh]") {
  const MeshAssignment slice = assign_mesh(Sizes{2, 2}, Sizes{2, 2}, false);
  // Logical axis 1 takes physical axis 0: [[0, 2], [1, 3]].
  CHECK(slice.device_order == Sizes{0, 2, 1, 3});
  // Two slices along axis 0: the rows of slice 0, then those of slice 1.
  CHECK(hybrid_device_order(slice, Sizes{2, 1}) == Sizes{0, 2, 1, 3, 4, 6, 5, 7});
  // Along axis 1 each row goes on in the other slice.
  CHECK(hybrid_device_order(slice, Sizes{1, 2}) == Sizes{0, 2, 4, 6, 1, 3, 5, 7});
  CHECK(hybrid_device_order(slice, Sizes{1, 1}) == slice.device_order);
  CHECK_THROWS_AS(hybrid_device_order(slice, Sizes{2}), Error);
  CHECK_THROWS_AS(hybrid_device_order(slice, Sizes{2, 0}), Error);
  CHECK_THROWS_AS(hybrid_device_order(slice, Sizes{1 << 20, 1}), Error);
}
