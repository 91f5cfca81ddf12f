// The sharing rule against its certificate, and against one resource filled by hand.
#include "sim/max_min.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace meshsim;

namespace {

using Uses = std::vector<std::vector<double>>;
constexpr double tolerance = 1e-9;

double load(const Uses& uses, const std::vector<double>& speeds, std::size_t r) {
  double sum = 0;
  for (std::size_t i = 0; i < uses.size(); ++i) sum += uses[i][r] * speeds[i];
  return sum;
}

void check_certificate(const Uses& uses, const std::vector<double>& speeds) {
  for (std::size_t r = 0; r < uses.front().size(); ++r)
    REQUIRE(load(uses, speeds, r) <= 1 + tolerance);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    REQUIRE(speeds[i] >= 0);
    REQUIRE(speeds[i] <= 1);
    bool justified = speeds[i] == 1;
    for (std::size_t r = 0; r < uses[i].size() && !justified; ++r) {
      if (uses[i][r] <= 0 || load(uses, speeds, r) < 1 - tolerance) continue;
      bool largest = true;
      for (std::size_t j = 0; j < uses.size(); ++j) {
        if (uses[j][r] * speeds[j] > uses[i][r] * speeds[i] + tolerance) largest = false;
      }
      justified = largest;
    }
    REQUIRE(justified);
  }
}

// One resource: the level to which water rises when everyone is a vessel of its demand, by
// bisection.
std::vector<double> filled(const std::vector<double>& demands) {
  double low = 0;
  double high = 2;
  for (int i = 0; i < 100; ++i) {
    const double level = (low + high) / 2;
    double sum = 0;
    for (const double demand : demands) sum += std::min(demand, level);
    (sum <= 1 ? low : high) = level;
  }
  std::vector<double> speeds;
  for (const double demand : demands) speeds.push_back(demand > low ? low / demand : 1);
  return speeds;
}

Uses random_uses(std::mt19937& random) {
  const auto any = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Uses uses(static_cast<std::size_t>(1 + any(6)),
            std::vector<double>(static_cast<std::size_t>(1 + any(5))));
  for (auto& row : uses) {
    for (double& use : row) use = any(3) == 0 ? 0 : any(5) == 0 ? 1 : any(1001) / 1000.0;
  }
  return uses;
}

}  // namespace

TEST_CASE("by hand", "[sim][max_min]") {
  CHECK(max_min_speeds(Uses{}).empty());
  CHECK(max_min_speeds(Uses{{1.0}}) == std::vector<double>{1});
  // Two that want all of one resource: half each.
  CHECK(max_min_speeds(Uses{{1}, {1}}) == std::vector<double>{0.5, 0.5});
  // Together they need 0.8 of it: nobody waits.
  CHECK(max_min_speeds(Uses{{0.5}, {0.3}}) == std::vector<double>{1, 1});
  // Shares are equal, not speeds: half of the capacity each.
  CHECK(max_min_speeds(Uses{{1}, {0.6}}) == std::vector<double>{0.5, 0.5 / 0.6});
  // Who wants less than its share gets it, and leaves the rest.
  CHECK(max_min_speeds(Uses{{1}, {0.3}}) == std::vector<double>{0.7, 1});
  // The second gets half of resource 0, and then wants 0.2 of resource 1, beside the 0.7 of the
  // third.
  const std::vector<double> chain = max_min_speeds(Uses{{1, 0}, {1, 0.4}, {0, 0.7}});
  CHECK(chain[0] == Approx(0.5));
  CHECK(chain[1] == Approx(0.5));
  CHECK(chain[2] == 1);
  // Who uses nothing is never slowed.
  CHECK(max_min_speeds(Uses{{1}, {1}, {0}}) == std::vector<double>{0.5, 0.5, 1});
}

TEST_CASE("every solution carries its certificate", "[sim][max_min]") {
  std::mt19937 random(11);
  for (int i = 0; i < 5000; ++i) {
    const Uses uses = random_uses(random);
    check_certificate(uses, max_min_speeds(uses));
  }
}

TEST_CASE("one resource fills like water", "[sim][max_min]") {
  std::mt19937 random(12);
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> demands;
    Uses uses;
    for (std::size_t n = 1 + random() % 6; n > 0; --n) {
      demands.push_back(static_cast<double>(random() % 1001) / 1000);
      uses.push_back({demands.back()});
    }
    const std::vector<double> solved = max_min_speeds(uses);
    const std::vector<double> oracle = filled(demands);
    for (std::size_t j = 0; j < solved.size(); ++j)
      REQUIRE(solved[j] == Approx(oracle[j]).margin(1e-9));
  }
}

TEST_CASE("the order of activities and of resources does not matter", "[sim][max_min]") {
  std::mt19937 random(13);
  for (int i = 0; i < 1000; ++i) {
    const Uses uses = random_uses(random);
    std::vector<std::size_t> order(uses.size());
    for (std::size_t j = 0; j < order.size(); ++j) order[j] = j;
    std::shuffle(order.begin(), order.end(), random);
    Uses shuffled;
    for (const std::size_t j : order) {
      shuffled.push_back(uses[j]);
      std::reverse(shuffled.back().begin(), shuffled.back().end());
    }
    const std::vector<double> before = max_min_speeds(uses);
    const std::vector<double> after = max_min_speeds(shuffled);
    for (std::size_t j = 0; j < order.size(); ++j)
      REQUIRE(after[j] == Approx(before[order[j]]).margin(tolerance));
  }
}
