#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "sim/agenda.hpp"

using namespace meshsim;

TEST_CASE("an agenda knows the first of the soonest", "[sim][devices]") {
  std::mt19937 random(1);
  for (const std::size_t devices : {1U, 2U, 8U, 9U, 64U, 65U, 600U}) {
    Agenda agenda;
    agenda.reset(devices);
    CHECK(agenda.time() == Agenda::never);
    std::vector<std::int64_t> times(devices, Agenda::never);
    for (int i = 0; i < 2000; ++i) {
      const std::size_t one = random() % devices;
      // Few different times, so that many are equal.
      times[one] = random() % 4 == 0 ? Agenda::never : static_cast<std::int64_t>(random() % 20);
      agenda.set(static_cast<std::uint32_t>(one), times[one]);
      const auto soonest = std::min_element(times.begin(), times.end());
      REQUIRE(agenda.time() == *soonest);
      if (*soonest != Agenda::never) REQUIRE(agenda.soonest() == soonest - times.begin());
    }
  }
}
