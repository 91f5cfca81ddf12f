#include "units/parse.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "units/dtype.hpp"

using namespace meshsim;
using Catch::Contains;

TEST_CASE("integers", "[parse]") {
  CHECK(parse_integer("0").value() == 0);
  CHECK(parse_integer("-1").value() == -1);
  CHECK(parse_integer("9007199254740992").value() == std::int64_t{1} << 53);
  CHECK(parse_integer("-9007199254740992").value() == -(std::int64_t{1} << 53));
}

TEST_CASE("what no number may look like", "[parse]") {
  const auto text = GENERATE(as<std::string>{}, "", " ", " 1", "1 ", "\n1", "+1", ".5", "5.",
                             "0x10", "010", "00", "-01", "1_000", "1,000", "nan", "NaN", ".nan",
                             "inf", "-inf", "Infinity", "-", "--1", "1e", "1e+", "e5", "1.e5",
                             "1.5.2", "1f", "0b1", "true", "-0", std::string("1\0", 2), "\xD9\xA1");
  CAPTURE(text);
  CHECK_FALSE(parse_integer(text));
  CHECK_FALSE(parse_real(text));
}

TEST_CASE("integers that a double cannot hold are refused, not rounded", "[parse]") {
  const auto text = GENERATE(as<std::string>{}, "9007199254740993", "-9007199254740993",
                             "9223372036854775807", "9223372036854775808", "18446744073709551615",
                             "18446744073709551616", std::string(400, '9'));
  CAPTURE(text);
  REQUIRE_FALSE(parse_integer(text));
  CHECK_THAT(parse_integer(text).why(), Contains("is beyond +-2^53"));
  CHECK_FALSE(parse_real(text));
}

TEST_CASE("integers are not reals in disguise", "[parse]") {
  CHECK_FALSE(parse_integer("1.0"));
  CHECK_FALSE(parse_integer("1e3"));
}

TEST_CASE("reals", "[parse]") {
  CHECK(parse_real("0").value() == 0.0);
  CHECK(parse_real("-1").value() == -1.0);
  CHECK(parse_real("0.1").value() == 0.1);
  CHECK(parse_real("1e3").value() == 1000.0);
  CHECK(parse_real("1E+3").value() == 1000.0);
  CHECK(parse_real("-2.5e-3").value() == -0.0025);
  CHECK(parse_real("1e308").value() == 1e308);
}

TEST_CASE("reals out of range are refused", "[parse]") {
  const auto text = GENERATE("1e400", "-1e400", "1e-400", "-0.0", "-0e5", "1e99999999999999999999");
  CAPTURE(text);
  CHECK_FALSE(parse_real(text));
}

TEST_CASE("a printed number parses to itself", "[parse]") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 20'000; ++round) {
    const auto integer = static_cast<std::int64_t>(random()) >> (10 + random() % 54);
    REQUIRE(parse_integer(fmt::format("{}", integer)).value() == integer);
    const double real = std::ldexp(static_cast<double>(integer), static_cast<int>(random() % 400));
    REQUIRE(parse_real(fmt::format("{:.17e}", real)).value() == real);
  }
}

TEST_CASE("refusals quote the text, cut short", "[parse]") {
  CHECK(parse_integer("010").why() == "is not an integer (got '010', want decimal digits)");
  CHECK_THAT(parse_integer(std::string(5000, 'x')).why(),
             Contains("'" + std::string(60, 'x') + "...'"));
}

TEST_CASE("booleans", "[parse]") {
  CHECK(parse_bool("true").value());
  CHECK(parse_bool("True").value());
  CHECK_FALSE(parse_bool("FALSE").value());
  CHECK_FALSE(parse_bool("yes"));
  CHECK_FALSE(parse_bool("1"));
  CHECK_FALSE(parse_bool(""));
}

TEST_CASE("shapes", "[parse]") {
  CHECK(parse_shape("4x8x8").value() == std::vector<std::int64_t>{4, 8, 8});
  CHECK(parse_shape("16").value() == std::vector<std::int64_t>{16});
  CHECK(parse_shape("1x1x1x1").value().size() == 4);
  const auto text = GENERATE("", "x", "4x", "x4", "4xx8", "4x0", "4x-1", "4X8", "4 x 8", "4x08",
                             "1x1x1x1x1", "4x8x8 ", "4*8");
  CAPTURE(text);
  CHECK_FALSE(parse_shape(text));
}

TEST_CASE("bytes", "[parse]") {
  CHECK(parse_bytes("80 GiB").value() == 80 * gib);
  CHECK(parse_bytes("80GiB").value() == 80 * gib);
  CHECK(parse_bytes("80 GB").value() == 80 * gigabyte);
  CHECK(parse_bytes("0 B").value() == Bytes(0));
  CHECK(parse_bytes("1.5 KiB").value() == Bytes(1536));
  CHECK(parse_bytes("1 TiB").value() == Bytes(std::int64_t{1} << 40));
  CHECK(parse_bytes("1e3 B").value() == Bytes(1000));
}

TEST_CASE("decimal fractions count exactly", "[parse]") {
  // As doubles, 2.01 x 1e9 = 2009999999.9999998 and 1.001 x 1e3 = 1000.9999999999999.
  CHECK(parse_bytes("2.01 GB").value() == Bytes(2'010'000'000));
  CHECK(parse_duration("1.001 ns").value() == Picoseconds(1'001));
  // 2^53 + 1 is a whole number of bytes, though no double.
  CHECK(parse_bytes("9007199254.740993 MB").value() == Bytes(9'007'199'254'740'993));
  // 95.74 x 2^30 = 102800042229.76: a fraction of a GiB need not be a whole number of bytes.
  CHECK(parse_bytes("95.74 GiB").value() == Bytes(102'800'042'230));
}

TEST_CASE("no part of a byte is lost silently", "[parse]") {
  CHECK_THAT(parse_bytes("1.5 B").why(), Contains("must be a whole number of B"));
  CHECK_FALSE(parse_duration("0.5 ps"));
  CHECK_FALSE(parse_bytes("1e-30 GiB"));
  CHECK(parse_bytes("2.0 B").value() == Bytes(2));
}

TEST_CASE("quantities without a unit, with a wrong one, or of a wrong sign", "[parse]") {
  CHECK(parse_bytes("80").why() ==
        "is not a quantity (got '80', want a number and one of: "
        "B kB MB GB TB KiB MiB GiB TiB)");
  const auto text =
      GENERATE(as<std::string>{}, "", "GiB", "80 Gib", "80 gb", "80 KB", "80  GiB", "80 GiB ",
               " 80 GiB", "80 GB/s", "80 us", "-80 GiB", "-0 B", "0x10 B", "010 B", "1_000 B",
               "nan B", "inf B", "1e400 B", "+1 B", ".5 B", "5. B", "9007199254740993 B",
               "8388608 TiB", "1e30 B", "1,5 GiB", "80 GiB 80 GiB", "1e99999999999 B", "80\tGiB");
  CAPTURE(text);
  CHECK_FALSE(parse_bytes(text));
}

TEST_CASE("the largest quantities", "[parse]") {
  // 8388607 x 2^40 = 2^63 - 2^40; one TiB more is 2^63.
  CHECK(parse_bytes("8388607 TiB").value() == Bytes(8'388'607 * (std::int64_t{1} << 40)));
  CHECK(parse_duration("9223372 s").value() == Picoseconds(9'223'372'000'000'000'000));
  CHECK_FALSE(parse_duration("9223373 s"));
  CHECK_THAT(parse_bandwidth("1e300 TB/s").why(), Contains("is too large"));
}

TEST_CASE("rates and durations", "[parse]") {
  CHECK(parse_bandwidth("90 GB/s").value() == BytesPerSecond(90e9));
  CHECK(parse_bandwidth("1 GiB/s").value() == BytesPerSecond(1073741824.0));
  CHECK(parse_bandwidth("200 Gbps").value() == BytesPerSecond(25e9));  // 200 / 8
  CHECK_FALSE(parse_bandwidth("90 GB"));
  CHECK_FALSE(parse_bandwidth("-90 GB/s"));
  CHECK(parse_flop_rate("459 TFLOP/s").value() == FlopsPerSecond(459e12));
  CHECK_FALSE(parse_flop_rate("459 TFLOPS"));
  CHECK(parse_duration("1 us").value() == Picoseconds(1'000'000));
  CHECK(parse_duration("0.5 ns").value() == Picoseconds(500));
  CHECK_FALSE(parse_duration("1 min"));
}

TEST_CASE("bytes agree with 128-bit decimal arithmetic", "[parse]") {
  __extension__ using Wide = __int128;
  std::mt19937_64 random(5);
  for (int round = 0; round < 20'000; ++round) {
    const auto whole = static_cast<std::int64_t>(random() % 1'000'000);
    const auto millionths = static_cast<std::int64_t>(random() % 1'000'000);
    // whole.millionths GiB = (whole x 10^6 + millionths) x 2^30 / 10^6, to the nearest byte.
    const Wide millionths_of_a_byte = (Wide{whole} * 1'000'000 + millionths) * gib.value();
    const auto nearest = static_cast<std::int64_t>((millionths_of_a_byte + 500'000) / 1'000'000);
    REQUIRE(parse_bytes(fmt::format("{}.{:06} GiB", whole, millionths)).value() == Bytes(nearest));
  }
}

TEST_CASE("element types", "[parse]") {
  for (const DType type : {DType::bfloat16, DType::float16, DType::float32, DType::int8,
                           DType::int32, DType::float8}) {
    CHECK(parse_dtype(name(type)).value() == type);
  }
  static_assert(element_bytes(DType::bfloat16) == 2 && element_bytes(DType::float32) == 4);
  static_assert(element_bytes(DType::float8) == 1 && element_bytes(DType::int32) == 4);
  CHECK_FALSE(parse_dtype("bf16"));
  CHECK_FALSE(parse_dtype(""));
}
