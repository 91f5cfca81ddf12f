#include "units/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "units/error.hpp"

namespace meshsim {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The grammar of a JSON number; from_chars alone would accept ".5", "inf" and "0x".
bool is_json_number(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - start;
  };
  if (at < text.size() && text[at] == '-') ++at;
  const std::size_t first = at;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() > longest) return fmt::format("'{}...'", text.substr(0, longest));
  return fmt::format("'{}'", text);
}

struct Unit {
  std::string_view name;
  double scale;
};

constexpr std::array byte_units{Unit{"B", 1},        Unit{"kB", 1e3},     Unit{"MB", 1e6},
                                Unit{"GB", 1e9},     Unit{"TB", 1e12},    Unit{"KiB", 0x1p10},
                                Unit{"MiB", 0x1p20}, Unit{"GiB", 0x1p30}, Unit{"TiB", 0x1p40}};
constexpr std::array bandwidth_units{
    Unit{"B/s", 1},        Unit{"kB/s", 1e3},     Unit{"MB/s", 1e6},     Unit{"GB/s", 1e9},
    Unit{"TB/s", 1e12},    Unit{"KiB/s", 0x1p10}, Unit{"MiB/s", 0x1p20}, Unit{"GiB/s", 0x1p30},
    Unit{"TiB/s", 0x1p40}, Unit{"Gbps", 1e9 / 8}};
constexpr std::array flop_units{Unit{"FLOP/s", 1}, Unit{"GFLOP/s", 1e9}, Unit{"TFLOP/s", 1e12},
                                Unit{"PFLOP/s", 1e15}};
constexpr std::array time_units{Unit{"ps", 1}, Unit{"ns", 1e3}, Unit{"us", 1e6}, Unit{"ms", 1e9},
                                Unit{"s", 1e12}};

// number x scale of its unit, in the base unit; refuses negative results.
Parsed<double> parse_with_unit(std::string_view text, std::span<const Unit> units) {
  std::size_t split = 0;
  while (split < text.size() && (is_digit(text[split]) || text[split] == '.' ||
                                 text[split] == '-' || text[split] == '+')) {
    ++split;
  }
  std::string_view unit = text.substr(split);
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const Parsed<double> number = parse_real(text.substr(0, split));
  const auto known = std::find_if(units.begin(), units.end(),
                                  [&](const Unit& candidate) { return candidate.name == unit; });
  if (!number || known == units.end()) {
    std::string names;
    for (const Unit& candidate : units) {
      names += fmt::format("{}{}", names.empty() ? "" : " ", candidate.name);
    }
    return Parsed<double>::refused(fmt::format(
        "is not a quantity (got {}, want a number and one of: {})", quoted(text), names));
  }
  if (number.value() < 0) {
    return Parsed<double>::refused(fmt::format("must not be negative (got {})", quoted(text)));
  }
  return Parsed<double>::ok(number.value() * known->scale);
}

// The integer that `value` is; quantities that are counted must be whole.
template <class Quantity>
Parsed<Quantity> whole(const Parsed<double>& value, std::string_view text) {
  if (!value) return Parsed<Quantity>::refused(value.why());
  if (value.value() >= 0x1p63) {
    return Parsed<Quantity>::refused(fmt::format("is too large (got {})", quoted(text)));
  }
  return Parsed<Quantity>::ok(Quantity(static_cast<std::int64_t>(std::floor(value.value()))));
}

}  // namespace

Picoseconds picoseconds_from_seconds(double seconds) {
  const double ps = std::ceil(seconds * 1e12);
  if (!(ps >= 0 && ps < 0x1p63)) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("a duration of {} s does not fit simulated time (2^63 ps)", seconds));
  }
  return Picoseconds(static_cast<std::int64_t>(ps));
}

Parsed<std::int64_t> parse_integer(std::string_view text) {
  const bool looks_integer =
      is_json_number(text) && text.find_first_of(".eE") == std::string_view::npos;
  if (!looks_integer || text == "-0") {
    return Parsed<std::int64_t>::refused(
        fmt::format("is not an integer (got {}, want decimal digits)", quoted(text)));
  }
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || value > largest_exact_integer || value < -largest_exact_integer) {
    return Parsed<std::int64_t>::refused(fmt::format("is beyond +-2^53 (got {})", quoted(text)));
  }
  return Parsed<std::int64_t>::ok(value);
}

Parsed<double> parse_real(std::string_view text) {
  if (!is_json_number(text)) {
    return Parsed<double>::refused(fmt::format("is not a number (got {})", quoted(text)));
  }
  if (text.find_first_of(".eE") == std::string_view::npos) {
    // An integer literal: exact or refused.
    const Parsed<std::int64_t> integer = parse_integer(text);
    if (!integer) return Parsed<double>::refused(integer.why());
    return Parsed<double>::ok(static_cast<double>(integer.value()));
  }
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || !std::isfinite(value)) {
    return Parsed<double>::refused(fmt::format("is out of range (got {})", quoted(text)));
  }
  if (value == 0 && text.front() == '-') {
    return Parsed<double>::refused(fmt::format("must not be negative zero (got {})", quoted(text)));
  }
  return Parsed<double>::ok(value);
}

Parsed<bool> parse_bool(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "true") return Parsed<bool>::ok(true);
  if (lower == "false") return Parsed<bool>::ok(false);
  return Parsed<bool>::refused(
      fmt::format("is not a boolean (got {}, want true or false)", quoted(text)));
}

Parsed<std::vector<std::int64_t>> parse_shape(std::string_view text) {
  using Result = Parsed<std::vector<std::int64_t>>;
  constexpr std::size_t most_axes = 4;
  std::vector<std::int64_t> shape;
  std::string_view rest = text;
  while (true) {
    const std::size_t cross = rest.find('x');
    const Parsed<std::int64_t> factor = parse_integer(rest.substr(0, cross));
    if (!factor || factor.value() < 1 || shape.size() == most_axes) {
      return Result::refused(fmt::format(
          "is not a shape (got {}, want one to four positive sizes such as 4x8x8)", quoted(text)));
    }
    shape.push_back(factor.value());
    if (cross == std::string_view::npos) return Result::ok(std::move(shape));
    rest.remove_prefix(cross + 1);
  }
}

Parsed<Bytes> parse_bytes(std::string_view text) {
  return whole<Bytes>(parse_with_unit(text, byte_units), text);
}

Parsed<BytesPerSecond> parse_bandwidth(std::string_view text) {
  const Parsed<double> value = parse_with_unit(text, bandwidth_units);
  if (!value) return Parsed<BytesPerSecond>::refused(value.why());
  return Parsed<BytesPerSecond>::ok(BytesPerSecond(value.value()));
}

Parsed<FlopsPerSecond> parse_flop_rate(std::string_view text) {
  const Parsed<double> value = parse_with_unit(text, flop_units);
  if (!value) return Parsed<FlopsPerSecond>::refused(value.why());
  return Parsed<FlopsPerSecond>::ok(FlopsPerSecond(value.value()));
}

Parsed<Picoseconds> parse_duration(std::string_view text) {
  return whole<Picoseconds>(parse_with_unit(text, time_units), text);
}

}  // namespace meshsim
