#include "units/print.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "units/parse.hpp"

using namespace meshsim;

TEST_CASE("GiB for tables", "[print]") {
  CHECK(in_gib(gib) == "1.00 GiB");
  CHECK(in_gib(Bytes(0)) == "0.00 GiB");
  CHECK(in_gib(gigabyte) == "0.93 GiB");  // 1e9 / 2^30 = 0.9313
}

TEST_CASE("the largest unit that leaves at least 1", "[print]") {
  CHECK(human(Bytes(0)) == "0 B");
  CHECK(human(Bytes(1023)) == "1023 B");
  CHECK(human(Bytes(1024)) == "1 KiB");
  CHECK(human(Bytes(8704)) == "8.5 KiB");
  CHECK(human(95 * gib) == "95 GiB");
  CHECK(human(Bytes(-2048)) == "-2 KiB");
  CHECK(human(gib - Bytes(1)) == "1 GiB");  // not 1024 MiB
  CHECK(human(BytesPerSecond(90e9)) == "90 GB/s");
  CHECK(human(BytesPerSecond(2.765e12)) == "2.765 TB/s");
  CHECK(human(FlopsPerSecond(459e12)) == "459 TFLOP/s");
  CHECK(human(Picoseconds(12'500'000)) == "12.5 us");
  CHECK(human(Picoseconds(1'234'567'000'000)) == "1.235 s");
}

TEST_CASE("no exponents in the largest unit", "[print]") {
  CHECK(human(Picoseconds(10'800'000'000'000'000)) == "10800 s");                  // 3 hours
  CHECK(human(Bytes(std::numeric_limits<std::int64_t>::max())) == "8388608 TiB");  // 2^63 / 2^40
  CHECK(human(Bytes(std::numeric_limits<std::int64_t>::min())) == "-8388608 TiB");
}

TEST_CASE("what is printed can be read back, to four digits", "[print]") {
  std::mt19937_64 random(6);
  for (int round = 0; round < 20'000; ++round) {
    const Bytes bytes(static_cast<std::int64_t>(random() >> (1 + random() % 62)));
    CAPTURE(bytes.value());
    const Bytes again = parse_bytes(human(bytes)).value();
    // Half a unit of the fourth digit is at most 5e-4 of the value; and half a byte to be whole.
    REQUIRE(std::abs((again - bytes) / Bytes(1)) <= 5e-4 * (bytes / Bytes(1)) + 0.5);
    REQUIRE(human(again) == human(bytes));

    const Picoseconds time(bytes.value());
    REQUIRE(human(parse_duration(human(time)).value()) == human(time));
    const BytesPerSecond rate(static_cast<double>(bytes.value()));
    REQUIRE(human(parse_bandwidth(human(rate)).value()) == human(rate));
  }
}

TEST_CASE("thousands are grouped", "[print]") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(-1000) == "-1,000");
  CHECK(grouped(-999) == "-999");
  CHECK(grouped(284'333'639'255) == "284,333,639,255");
  CHECK(grouped(std::numeric_limits<std::int64_t>::min()) == "-9,223,372,036,854,775,808");
}
