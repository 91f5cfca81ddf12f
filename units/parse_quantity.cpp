#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t scale;  // in the base unit: bytes, bytes/s, FLOP/s or picoseconds
};

constexpr std::int64_t kilo = 1'000;
constexpr std::int64_t mega = kilo * kilo;
constexpr std::int64_t giga = mega * kilo;
constexpr std::int64_t tera = giga * kilo;
constexpr std::int64_t peta = tera * kilo;
constexpr std::int64_t kibi = 1'024;
constexpr std::int64_t mebi = kibi * kibi;
constexpr std::int64_t gibi = mebi * kibi;
constexpr std::int64_t tebi = gibi * kibi;

constexpr std::array byte_units{Unit{"B", 1},      Unit{"kB", kilo},  Unit{"MB", mega},
                                Unit{"GB", giga},  Unit{"TB", tera},  Unit{"KiB", kibi},
                                Unit{"MiB", mebi}, Unit{"GiB", gibi}, Unit{"TiB", tebi}};
constexpr std::array bandwidth_units{
    Unit{"B/s", 1},      Unit{"kB/s", kilo},    Unit{"MB/s", mega},  Unit{"GB/s", giga},
    Unit{"TB/s", tera},  Unit{"KiB/s", kibi},   Unit{"MiB/s", mebi}, Unit{"GiB/s", gibi},
    Unit{"TiB/s", tebi}, Unit{"Gbps", giga / 8}};
constexpr std::array flop_units{Unit{"FLOP/s", 1}, Unit{"GFLOP/s", giga}, Unit{"TFLOP/s", tera},
                                Unit{"PFLOP/s", peta}};
constexpr std::array time_units{Unit{"ps", 1}, Unit{"ns", kilo}, Unit{"us", mega}, Unit{"ms", giga},
                                Unit{"s", tera}};

struct Amount {
  std::string_view number;  // a JSON number, not negative
  double value;             // what it says
  std::int64_t scale;       // of its unit
};

Parsed<Amount> parse_amount(std::string_view text, std::span<const Unit> units) {
  const std::size_t split = std::min(text.find_first_not_of("0123456789+-.eE"), text.size());
  std::string_view unit = text.substr(split);
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const std::string_view number = text.substr(0, split);
  const Parsed<double> value = parse_real(number);
  const auto known = std::find_if(units.begin(), units.end(),
                                  [&](const Unit& candidate) { return candidate.name == unit; });
  if (number.empty() || known == units.end()) {
    std::string names;
    for (const Unit& candidate : units) {
      names += fmt::format("{}{}", names.empty() ? "" : " ", candidate.name);
    }
    return Parsed<Amount>::refused(fmt::format(
        "is not a quantity (got {}, want a number and one of: {})", in_quotes(text), names));
  }
  if (!value) return Parsed<Amount>::refused(value.why());
  if (value.value() < 0) {
    return Parsed<Amount>::refused(fmt::format("must not be negative (got {})", in_quotes(text)));
  }
  return Parsed<Amount>::ok({number, value.value(), known->scale});
}

template <class Rate>
Parsed<Rate> parse_rate(std::string_view text, std::span<const Unit> units) {
  const Parsed<Amount> amount = parse_amount(text, units);
  if (!amount) return Parsed<Rate>::refused(amount.why());
  const double rate = amount.value().value * static_cast<double>(amount.value().scale);
  if (!std::isfinite(rate)) {
    return Parsed<Rate>::refused(fmt::format("is too large (got {})", in_quotes(text)));
  }
  return Parsed<Rate>::ok(Rate(rate));
}

__extension__ using Wide = unsigned __int128;

// number x scale to the nearest integer, computed in integers: doubles would turn 2.01 GB into
// 2009999999.9999998 bytes. Nothing if the number has more than 18 digits or the result 2^63.
std::optional<std::int64_t> nearest_count(std::string_view number, std::int64_t scale) {
  const std::size_t exponent_mark = std::min(number.find_first_of("eE"), number.size());
  int exponent = 0;
  if (exponent_mark < number.size()) {
    std::string_view digits = number.substr(exponent_mark + 1);
    if (digits.front() == '+') digits.remove_prefix(1);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    if (result.ec != std::errc{}) return std::nullopt;
  }
  Wide value = 0;
  bool fraction = false;
  for (const char c : number.substr(0, exponent_mark)) {
    if (c == '.') {
      fraction = true;
      continue;
    }
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value >= static_cast<Wide>(peta) * 1'000) return std::nullopt;
    if (fraction) --exponent;
  }
  if (value == 0) return 0;
  constexpr Wide limit = Wide{1} << 63U;
  value *= static_cast<Wide>(scale);
  for (; exponent > 0 && value < limit; --exponent) value *= 10;
  Wide divisor = 1;
  for (; exponent < 0 && divisor <= 2 * value; ++exponent) divisor *= 10;
  value = (2 * value + divisor) / (2 * divisor);
  if (value >= limit) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

// Counted things come out whole: "1.5 B" is refused, "95.74 GiB" is the nearest byte.
template <class Quantity>
Parsed<Quantity> parse_count(std::string_view text, std::span<const Unit> units) {
  const Parsed<Amount> amount = parse_amount(text, units);
  if (!amount) return Parsed<Quantity>::refused(amount.why());
  const auto& [number, value, scale] = amount.value();
  const std::optional<std::int64_t> count = nearest_count(number, scale);
  if (!count) {
    return Parsed<Quantity>::refused(
        fmt::format("is too large or has too many digits (got {})", in_quotes(text)));
  }
  const bool fraction_of_base_unit = scale == 1 && std::floor(value) != value;
  if (fraction_of_base_unit || (*count == 0 && value > 0)) {
    return Parsed<Quantity>::refused(
        fmt::format("must be a whole number of {} (got {})", units.front().name, in_quotes(text)));
  }
  return Parsed<Quantity>::ok(Quantity(*count));
}

}  // namespace

Parsed<Bytes> parse_bytes(std::string_view text) { return parse_count<Bytes>(text, byte_units); }

Parsed<BytesPerSecond> parse_bandwidth(std::string_view text) {
  return parse_rate<BytesPerSecond>(text, bandwidth_units);
}

Parsed<FlopsPerSecond> parse_flop_rate(std::string_view text) {
  return parse_rate<FlopsPerSecond>(text, flop_units);
}

Parsed<Picoseconds> parse_duration(std::string_view text) {
  return parse_count<Picoseconds>(text, time_units);
}

}  // namespace meshsim
