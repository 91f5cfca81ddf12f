#include "units/checked.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "units/error.hpp"

namespace meshsim {
namespace {

[[noreturn]] void overflow(std::string_view what, const std::string& expression) {
  throw Error(ErrorKind::invalid_input,
              fmt::format("{} = {} exceeds +-{}", what, expression,
                          std::numeric_limits<std::int64_t>::max()),
              "one of the factors is far beyond any real machine or model");
}

}  // namespace

void fail_overflow(std::string_view what, std::int64_t a, char sign, std::int64_t b) {
  overflow(what, fmt::format("{} {} {}", a, sign, b));
}

std::int64_t checked_product(std::span<const std::int64_t> factors, std::string_view what) {
  // Zero times anything is zero, even where the other factors alone would overflow.
  if (std::find(factors.begin(), factors.end(), 0) != factors.end()) return 0;
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) {
      overflow(what, fmt::format("{}", fmt::join(factors, " x ")));
    }
  }
  return product;
}

std::int64_t checked_product(std::initializer_list<std::int64_t> factors, std::string_view what) {
  return checked_product(std::span(factors.begin(), factors.size()), what);
}

std::int64_t round_up(std::int64_t a, std::int64_t b, std::string_view what) {
  return checked_multiply(ceil_div(a, b), b, what);
}

}  // namespace meshsim
