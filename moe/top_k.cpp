#include "moe/top_k.hpp"

#include <fmt/format.h>

#include <bit>
#include <limits>

#include "moe/clones.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t lanes = 16;
constexpr std::int64_t taken = std::numeric_limits<std::int64_t>::min();

[[gnu::always_inline]] inline std::int64_t larger(std::int64_t a, std::int64_t b) {
  return a < b ? b : a;
}

// Bits of a float as an integer that orders as the float does; negative floats count backwards.
[[gnu::always_inline]] inline std::int32_t ordered(float value) {
  const float number = value == value ? value + 0.0F : -std::numeric_limits<float>::infinity();
  const auto bits = std::bit_cast<std::int32_t>(number);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

MESHSIM_CLONES void make_keys(const float* values, std::int64_t width, std::int64_t* keys) {
  const auto count = static_cast<std::int32_t>(width);
  for (std::int32_t e = 0; e < count; ++e)
    keys[e] = (static_cast<std::int64_t>(ordered(values[e])) << 32) |
              static_cast<std::int64_t>(0x7fffffff - e);
}

MESHSIM_CLONES void take_largest(std::int64_t* keys, std::int64_t rounds, std::int64_t k,
                                 ExpertId* chosen) {
  std::int64_t best[lanes];
  for (std::int64_t l = 0; l < lanes; ++l) best[l] = keys[l];
  for (std::int64_t r = 1; r < rounds; ++r)
    for (std::int64_t l = 0; l < lanes; ++l) best[l] = larger(best[l], keys[r * lanes + l]);
  for (std::int64_t j = 0; j < k; ++j) {
    std::int64_t m[8];  // a tree of maxima, which vectorises
    for (int i = 0; i < 8; ++i) m[i] = larger(best[i], best[i + 8]);
    for (int i = 0; i < 4; ++i) m[i] = larger(m[i], m[i + 4]);
    const std::int64_t winner = larger(larger(m[0], m[2]), larger(m[1], m[3]));
    const std::int64_t e = 0x7fffffff - (winner & 0x7fffffff);
    chosen[j] = static_cast<ExpertId>(e);
    keys[e] = taken;
    const std::int64_t lane = e % lanes;
    std::int64_t most = taken;
    for (std::int64_t r = 0; r < rounds; ++r) most = larger(most, keys[r * lanes + lane]);
    best[lane] = most;
  }
}

}  // namespace

TopK::TopK(std::int64_t width, std::int64_t k)
    : width_(width), k_(k), rounds_(ceil_div(width, lanes)) {
  if (k < 1 || k > width)
    throw Error(ErrorKind::invalid_input,
                fmt::format("top_k {} must lie between 1 and the {} experts", k, width));
  keys_.assign(static_cast<std::size_t>(rounds_ * lanes), taken);
}

void TopK::operator()(const float* values, ExpertId* chosen) {
  make_keys(values, width_, keys_.data());
  take_largest(keys_.data(), rounds_, k_, chosen);
}

}  // namespace meshsim
