// Integer arithmetic that refuses to overflow, and says which quantity did.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace meshsim {

// Each throws Error(invalid_input) "`what` = a x b exceeds +-9223372036854775807" on overflow.
inline std::int64_t checked_add(std::int64_t a, std::int64_t b, std::string_view what);
inline std::int64_t checked_subtract(std::int64_t a, std::int64_t b, std::string_view what);
inline std::int64_t checked_multiply(std::int64_t a, std::int64_t b, std::string_view what);
// The product of all factors; 1 of none. Unless a factor is 0, every partial product must fit.
std::int64_t checked_product(std::span<const std::int64_t> factors, std::string_view what);
std::int64_t checked_product(std::initializer_list<std::int64_t> factors, std::string_view what);

// ceil(a / b) and a rounded up to a multiple of b, for a >= 0, b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0); }
std::int64_t round_up(std::int64_t a, std::int64_t b, std::string_view what);

[[noreturn]] void fail_overflow(std::string_view what, std::int64_t a, char sign, std::int64_t b);

std::int64_t checked_add(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail_overflow(what, a, '+', b);
  return sum;
}

std::int64_t checked_subtract(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a, b, &difference)) fail_overflow(what, a, '-', b);
  return difference;
}

std::int64_t checked_multiply(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) fail_overflow(what, a, 'x', b);
  return product;
}

}  // namespace meshsim
