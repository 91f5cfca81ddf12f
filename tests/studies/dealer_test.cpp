// Stretches of plans: each plan once, in order, known ones to rank 0 alone.
#include "studies/sweep/dealer.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace meshsim;

TEST_CASE("every plan is dealt once, in order", "[studies][dealer]") {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    const auto total = static_cast<std::int64_t>(random() % 20'000);
    std::vector<bool> known;
    if (round % 2 == 0) {
      // Runs of known plans and of others.
      bool now = random() % 2 == 0;
      while (known.size() < static_cast<std::size_t>(total)) {
        known.push_back(now);
        if (random() % 100 == 0) now = !now;
      }
    }
    Dealer dealer(total, known, 3, 5000);
    std::vector<int> dealt(static_cast<std::size_t>(total), 0);
    std::int64_t last_of_first = 0, last_of_others = 0, done = 0;
    while (true) {
      const bool to_first = random() % 2 == 0;
      const Dealer::Answer answer = to_first ? dealer.any() : dealer.unknown();
      if (answer.range) {
        const auto [first, plans] = *answer.range;
        REQUIRE(plans > 0);
        CHECK(first < done + 5000);
        std::int64_t& last = to_first ? last_of_first : last_of_others;
        CHECK(first >= last);
        last = first + plans;
        for (std::int64_t i = first; i < last; ++i) {
          ++dealt.at(static_cast<std::size_t>(i));
          if (!to_first && !known.empty()) CHECK(!known[static_cast<std::size_t>(i)]);
        }
        dealer.judged(plans, 1e-5 * static_cast<double>(random() % 1000 * 16));
      }
      while (done < total && dealt[static_cast<std::size_t>(done)] > 0) ++done;
      dealer.done(done);
      if (done == total) break;
      // What was dealt is done at once, so that rank 0 always finds something.
      if (to_first) REQUIRE(answer.range.has_value());
    }
    for (const int times : dealt) CHECK(times == 1);
  }
}

TEST_CASE("stretches are short at first, where plans take long, and at the end",
          "[studies][dealer]") {
  constexpr std::int64_t total = 1'000'000;
  Dealer dealer(total, {}, 2, 0);
  CHECK(dealer.any().range->plans == 64);
  dealer.judged(64, 0.001);  // 64,000 a second: 16,000 in a quarter of one, but never more than
  CHECK(dealer.any().range->plans == 4096);
  dealer.judged(0, 64);  // all in all one a second
  CHECK(dealer.any().range->plans == 16);
  Dealer last(1000, {}, 2, 0);
  last.judged(1000, 0.001);
  CHECK(last.any().range->plans == 125);  // 1,000 / (4 x 2)
}
