#include "units/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

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

}  // namespace

Parsed<std::int64_t> parse_integer(std::string_view text) {
  const bool looks_integer =
      is_json_number(text) && text.find_first_of(".eE") == std::string_view::npos;
  if (!looks_integer || text == "-0") {
    return Parsed<std::int64_t>::refused(
        fmt::format("is not an integer (got {}, want decimal digits)", in_quotes(text)));
  }
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{} || value > largest_exact_integer || value < -largest_exact_integer) {
    return Parsed<std::int64_t>::refused(fmt::format("is beyond +-2^53 (got {})", in_quotes(text)));
  }
  return Parsed<std::int64_t>::ok(value);
}

Parsed<double> parse_real(std::string_view text) {
  if (!is_json_number(text)) {
    return Parsed<double>::refused(fmt::format("is not a number (got {})", in_quotes(text)));
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
    return Parsed<double>::refused(fmt::format("is out of range (got {})", in_quotes(text)));
  }
  if (value == 0 && text.front() == '-') {
    return Parsed<double>::refused(
        fmt::format("must not be negative zero (got {})", in_quotes(text)));
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
      fmt::format("is not a boolean (got {}, want true or false)", in_quotes(text)));
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
      return Result::refused(
          fmt::format("is not a shape (got {}, want one to four positive sizes such as 4x8x8)",
                      in_quotes(text)));
    }
    shape.push_back(factor.value());
    if (cross == std::string_view::npos) return Result::ok(std::move(shape));
    rest.remove_prefix(cross + 1);
  }
}

}  // namespace meshsim
