// Goodput against its limits and against failures that are drawn.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "studies/goodput.hpp"

using namespace meshsim;

TEST_CASE("rare failures: Young's interval", "[studies][goodput]") {
  // C / M = 1e-6: sqrt(2 C M) = sqrt(2 x 1 x 1e6) = 1414.2 s. Daly's next terms, C/3 - C, are below
  // 0.1 % of it.
  CHECK(best_checkpoint_interval(1, 1e6) == Approx(std::sqrt(2e6)).epsilon(1e-3));
  // Daly's expansion, tau = sqrt(2CM) (1 + sqrt(C/2M)/3 + (C/2M)/9) - C, at C/M = 1/100.
  const double c = 60, m = 6000;
  const double daly = std::sqrt(2 * c * m) * (1 + std::sqrt(c / (2 * m)) / 3 + c / (2 * m) / 9) - c;
  CHECK(best_checkpoint_interval(c, m) == Approx(daly).epsilon(1e-3));
}

TEST_CASE("the best interval is better than its neighbours", "[studies][goodput]") {
  for (const double checkpoint : {5.0, 60.0, 600.0}) {
    Reliability of{50'000 * 3600.0, checkpoint, 300, std::nullopt, 0, 0};
    for (const std::int64_t chips : {64, 1024, 8192}) {
      of.interval.reset();
      const Goodput best = goodput(of, chips);
      CHECK(best.ratio > 0);
      CHECK(best.ratio < 1);
      for (const double factor : {0.9, 0.99, 1.01, 1.1}) {
        of.interval = best.interval * factor;
        CHECK(goodput(of, chips).ratio < best.ratio);
      }
    }
  }
}

TEST_CASE("the expectation is that of drawn failures", "[studies][goodput]") {
  // M = 1000 h x 3600 / 1024 chips = 3516 s; computing 600 s, writing 60 s, restarting 240 s.
  const Reliability of{1000 * 3600.0, 60, 240, 600.0, 0, 0};
  const double mtbf = of.mtbf_per_chip / 1024;
  std::mt19937_64 random(5);
  std::exponential_distribution<double> until_failure(1 / mtbf);
  double time = 0;
  constexpr int segments = 200'000;
  for (int i = 0; i < segments; ++i) {
    while (true) {
      const double failure = until_failure(random);
      if (failure >= 660) break;
      time += failure;
      while (true) {  // the restart may fail as well
        const double next = until_failure(random);
        time += std::min(next, 240.0);
        if (next >= 240) break;
      }
    }
    time += 660;
  }
  // 200,000 segments, each with a spread of about its own length: 1/sqrt(200,000) = 0.2 %.
  CHECK(goodput(of, 1024).ratio == Approx(segments * 600.0 / time).epsilon(0.01));
}

TEST_CASE("spares shorten the wait for repairs", "[studies][goodput]") {
  Reliability of{50'000 * 3600.0, 60, 300, std::nullopt, 0, 0};
  const double without_repairs = goodput(of, 4096).ratio;
  of.repair = 4 * 3600.0;
  double last = goodput(of, 4096).ratio;
  // No spare: every failure waits, which is as if the restart took four hours longer.
  Reliability waiting = of;
  waiting.restart += waiting.repair;
  waiting.repair = 0;
  CHECK(last == Approx(goodput(waiting, 4096).ratio));
  for (of.spare_slices = 1; of.spare_slices < 5; ++of.spare_slices) {
    CHECK(goodput(of, 4096).ratio > last);
    last = goodput(of, 4096).ratio;
  }
  CHECK(last == Approx(without_repairs).epsilon(0.001));
}
