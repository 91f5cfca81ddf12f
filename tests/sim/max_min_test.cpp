// The sharing rule against its certificate, and against bisection.
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
      bool fastest = true;
      for (std::size_t j = 0; j < uses.size(); ++j) {
        if (uses[j][r] > 0 && speeds[j] > speeds[i] + tolerance) fastest = false;
      }
      justified = fastest;
    }
    REQUIRE(justified);
  }
}

// All speeds rise together, by bisection; those that cannot rise further stay.
std::vector<double> by_bisection(const Uses& uses) {
  std::vector<double> speeds(uses.size(), 0);
  std::vector<bool> open(uses.size(), true);
  const auto feasible = [&](double level) {
    std::vector<double> trial = speeds;
    for (std::size_t i = 0; i < trial.size(); ++i) {
      if (open[i]) trial[i] = level;
    }
    for (std::size_t r = 0; r < uses.front().size(); ++r) {
      if (load(uses, trial, r) > 1 + 1e-12) return false;
    }
    return true;
  };
  while (std::find(open.begin(), open.end(), true) != open.end()) {
    double low = 0;
    double high = 1;
    if (feasible(1)) low = 1;
    for (int i = 0; i < 60 && low < 1; ++i)
      (feasible((low + high) / 2) ? low : high) = (low + high) / 2;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      if (open[i]) speeds[i] = low;
    }
    // Those on a full resource are done; all are at full speed.
    bool fixed = false;
    std::vector<bool> still = open;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      for (std::size_t r = 0; r < uses[i].size(); ++r) {
        if (open[i] && (low == 1 || (uses[i][r] > 0 && load(uses, speeds, r) > 1 - 1e-10))) {
          still[i] = false;
          fixed = true;
        }
      }
    }
    open = still;
    if (!fixed) break;
  }
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
  // Speeds are equal, not shares: s (1 + 0.6) = 1.
  CHECK(max_min_speeds(Uses{{1}, {0.6}}) == std::vector<double>{1 / 1.6, 1 / 1.6});
  // The third is alone on resource 1 but for the second, which resource 0 holds at 1/2: what is
  // left, 1 - 1/2 x 0.4, exceeds what it wants, 0.7.
  CHECK(max_min_speeds(Uses{{1, 0}, {1, 0.4}, {0, 0.7}}) == std::vector<double>{0.5, 0.5, 1});
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

TEST_CASE("progressive filling by bisection gives the same speeds", "[sim][max_min]") {
  std::mt19937 random(12);
  for (int i = 0; i < 2000; ++i) {
    const Uses uses = random_uses(random);
    const std::vector<double> solved = max_min_speeds(uses);
    const std::vector<double> oracle = by_bisection(uses);
    for (std::size_t j = 0; j < solved.size(); ++j)
      REQUIRE(solved[j] == Approx(oracle[j]).margin(1e-6));
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
