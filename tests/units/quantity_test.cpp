#include "units/quantity.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Subtractable = requires(A a, B b) {
  a - b;
};
template <class A, class B>
concept Multipliable = requires(A a, B b) {
  a* b;
};
template <class A, class B>
concept Divisible = requires(A a, B b) {
  a / b;
};
template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

// What adds up, and what it adds up to.
static_assert(std::is_same_v<decltype(Bytes{} + Bytes{}), Bytes>);
static_assert(std::is_same_v<decltype(Bytes{} * 3), Bytes>);
static_assert(std::is_same_v<decltype(3 * Bytes{}), Bytes>);
static_assert(std::is_same_v<decltype(Bytes{} / Bytes{}), double>);
static_assert(std::is_same_v<decltype(Bytes{} / BytesPerSecond{}), Picoseconds>);
static_assert(std::is_same_v<decltype(FlopCount{} / FlopsPerSecond{}), Picoseconds>);
static_assert(std::is_same_v<decltype(BytesPerSecond{} / BytesPerSecond{}), double>);

// What does not mix.
static_assert(!Addable<Bytes, Tokens>);
static_assert(!Addable<Bytes, FlopCount>);
static_assert(!Addable<Bytes, int>);
static_assert(!Addable<Bytes, BytesPerSecond>);
static_assert(!Addable<BytesPerSecond, FlopsPerSecond>);
static_assert(!Subtractable<Picoseconds, Bytes>);
static_assert(!Multipliable<Bytes, Bytes>);
static_assert(!Multipliable<Bytes, BytesPerSecond>);
static_assert(!Divisible<Bytes, FlopsPerSecond>);
static_assert(!Divisible<FlopCount, BytesPerSecond>);
static_assert(!Divisible<Tokens, Bytes>);
static_assert(!Divisible<BytesPerSecond, Bytes>);
static_assert(!Comparable<Bytes, Tokens>);

// A bare number becomes a quantity only where that is written out, and never turns back by itself.
static_assert(!std::is_convertible_v<std::int64_t, Bytes>);
static_assert(!std::is_convertible_v<Bytes, std::int64_t>);
static_assert(!std::is_convertible_v<double, BytesPerSecond>);
static_assert(!std::is_constructible_v<Bytes, Tokens>);

static_assert(gib.value() == 1'073'741'824 && gigabyte.value() == 1'000'000'000);
static_assert(mib.value() == 1'048'576 && kib.value() == 1'024);

}  // namespace

TEST_CASE("counts are checked integers", "[quantity]") {
  CHECK(Bytes(3) + Bytes(4) == Bytes(7));
  CHECK(Bytes(3) - Bytes(4) == Bytes(-1));
  CHECK(3 * Bytes(4) == Bytes(12));
  CHECK(Bytes(1) < Bytes(2));
  Bytes sum;
  sum += Bytes(5);
  sum -= Bytes(2);
  CHECK(sum == Bytes(3));

  const Bytes most(std::numeric_limits<std::int64_t>::max());
  CHECK(refusal([&] { most + Bytes(1); }).diagnostics().front().what ==
        "bytes = 9223372036854775807 + 1 exceeds +-9223372036854775807");
  CHECK_THROWS_AS(Tokens(std::int64_t{1} << 62) * 2, Error);
}

TEST_CASE("a GiB is 7.4 % more than a GB", "[quantity]") {
  CHECK(gib / gigabyte == Approx(1.073741824).epsilon(1e-15));
}

TEST_CASE("an amount over a rate is a time, rounded up", "[quantity]") {
  const BytesPerSecond link(90e9);
  CHECK(Bytes(90'000'000'000) / link == Picoseconds(1'000'000'000'000));
  CHECK(Bytes(0) / link == Picoseconds(0));
  CHECK(Bytes(1) / link == Picoseconds(12));  // 1 / 0.09 = 11.1 ps
  CHECK(Bytes(9) / link == Picoseconds(100));
  // 2^20 / 0.09 = 11650844.4 ps
  CHECK(mib / link == Picoseconds(11'650'845));
  CHECK(FlopCount(459) / FlopsPerSecond(459e12) == Picoseconds(1));

  CHECK_THROWS_AS(Bytes(1) / BytesPerSecond(0), Error);
  CHECK_THROWS_AS(Bytes(0) / BytesPerSecond(0), Error);
  CHECK_THROWS_AS(Bytes(1) / BytesPerSecond(1e-9), Error);  // 1e21 ps > 2^63
}

TEST_CASE("whole picoseconds survive the way through seconds", "[quantity]") {
  // The double next to 1e-9 lies above it; rounding that up would give 1001.
  CHECK(picoseconds_from_seconds(1e-9) == Picoseconds(1000));
  CHECK(picoseconds_from_seconds(1.0000001e-9) == Picoseconds(1001));
  CHECK(seconds(Picoseconds(1000)) == 1e-9);
  std::mt19937_64 random(2);
  for (int round = 0; round < 20'000; ++round) {
    const Picoseconds time(static_cast<std::int64_t>(random() >> (15 + random() % 49)));
    REQUIRE(picoseconds_from_seconds(seconds(time)) == time);
  }
}

TEST_CASE("work at a whole number of bytes per picosecond takes exactly that long", "[quantity]") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20'000; ++round) {
    const auto ps = static_cast<std::int64_t>(random() % 1'000'000'000'000);
    const auto bytes_per_ps = static_cast<std::int64_t>(1 + random() % 4000);
    const BytesPerSecond rate(static_cast<double>(bytes_per_ps) * 1e12);
    CAPTURE(ps, bytes_per_ps);
    REQUIRE(Bytes(ps * bytes_per_ps) / rate == Picoseconds(ps));
    // One byte more needs one picosecond more, as long as a double can tell (2^-50 of the time).
    if (ps < 100'000'000) {
      REQUIRE(Bytes(ps * bytes_per_ps + 1) / rate == Picoseconds(ps + 1));
    }
  }
}

TEST_CASE("a time that simulated time cannot hold is refused", "[quantity]") {
  CHECK_THROWS_AS(picoseconds_from_seconds(-1e-12), Error);
  CHECK_THROWS_AS(picoseconds_from_seconds(std::nan("")), Error);
  CHECK_THROWS_AS(picoseconds_from_seconds(std::numeric_limits<double>::infinity()), Error);
  CHECK_THROWS_AS(picoseconds_from_seconds(9.3e6), Error);  // 2^63 ps = 9.22e6 s
  CHECK(picoseconds_from_seconds(9.2e6) == Picoseconds(9'200'000'000'000'000'000));
}
