#include "units/checked.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <random>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();

__extension__ using Wide = __int128;

// The oracle: arithmetic in twice the width, and a look at whether the result fits.
std::optional<std::int64_t> narrow(Wide exact) {
  if (exact > highest || exact < lowest) return std::nullopt;
  return static_cast<std::int64_t>(exact);
}

template <class Operation>
std::optional<std::int64_t> unless_refused(Operation operation) {
  try {
    return operation();
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

TEST_CASE("arithmetic is exact up to the edges of int64 and refused beyond", "[checked]") {
  CHECK(checked_add(highest - 1, 1, "x") == highest);
  CHECK_THROWS_AS(checked_add(highest, 1, "x"), Error);
  CHECK(checked_subtract(lowest + 1, 1, "x") == lowest);
  CHECK_THROWS_AS(checked_subtract(lowest, 1, "x"), Error);
  CHECK(checked_subtract(-1, lowest, "x") == highest);  // -1 + 2^63
  CHECK_THROWS_AS(checked_subtract(0, lowest, "x"), Error);
  CHECK(checked_multiply(std::int64_t{1} << 31, std::int64_t{1} << 31, "x") == std::int64_t{1}
                                                                                   << 62);
  CHECK_THROWS_AS(checked_multiply(std::int64_t{1} << 32, std::int64_t{1} << 31, "x"), Error);
  CHECK_THROWS_AS(checked_multiply(lowest, -1, "x"), Error);
}

TEST_CASE("arithmetic agrees with 128-bit arithmetic on random operands", "[checked]") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    // Shifts spread the operands over all magnitudes, so that about half of the products fit.
    const auto draw = [&] { return static_cast<std::int64_t>(random()) >> (random() % 64); };
    const std::int64_t a = draw();
    const std::int64_t b = draw();
    CAPTURE(a, b);
    REQUIRE(unless_refused([&] { return checked_add(a, b, "x"); }) == narrow(Wide{a} + b));
    REQUIRE(unless_refused([&] { return checked_subtract(a, b, "x"); }) == narrow(Wide{a} - b));
    REQUIRE(unless_refused([&] { return checked_multiply(a, b, "x"); }) == narrow(Wide{a} * b));
  }
}

TEST_CASE("an overflow names the quantity and its factors", "[checked]") {
  const Error error = refusal([] { checked_product({4'000'000'000, 3, 1'000'000'000}, "slots"); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(error.diagnostics().front().what ==
        "slots = 4000000000 x 3 x 1000000000 exceeds +-9223372036854775807");
}

TEST_CASE("a product of many factors", "[checked]") {
  CHECK(checked_product({}, "x") == 1);
  CHECK(checked_product({7}, "x") == 7);
  CHECK(checked_product({4, 8, 8}, "x") == 256);
  CHECK_THROWS_AS(checked_product({highest, 2}, "x"), Error);
  SECTION("is zero with a zero factor, wherever that stands") {
    CHECK(checked_product({0, highest, highest}, "x") == 0);
    CHECK(checked_product({highest, highest, 0}, "x") == 0);
  }
}

TEST_CASE("division rounds up", "[checked]") {
  static_assert(ceil_div(0, 4) == 0);
  static_assert(ceil_div(1, 4) == 1);
  static_assert(ceil_div(4, 4) == 1);
  static_assert(ceil_div(5, 4) == 2);
  // (a + b - 1) / b would overflow here.
  static_assert(ceil_div(highest, 2) == highest / 2 + 1);
  CHECK(round_up(0, 128, "x") == 0);
  CHECK(round_up(1, 128, "x") == 128);
  CHECK(round_up(128, 128, "x") == 128);
  CHECK(round_up(129, 128, "x") == 256);
  CHECK_THROWS_AS(round_up(highest, 2, "x"), Error);  // 2^63 does not fit
}
