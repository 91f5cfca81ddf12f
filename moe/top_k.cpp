#include "moe/top_k.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "units/checked.hpp"
#include "units/error.hpp"

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define MESHSIM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MESHSIM_CLONES
#endif

namespace meshsim {
namespace {

constexpr std::int64_t block = 16;
constexpr float none = -std::numeric_limits<float>::infinity();

[[gnu::always_inline]] inline float larger(float a, float b) { return a < b ? b : a; }

// A tree of pairwise maxima, which vectorises; a left-to-right maximum would not.
[[gnu::always_inline]] inline float largest_of_block(const float* values) {
  float m[8];
  for (int i = 0; i < 8; ++i) m[i] = larger(values[i], values[i + 8]);
  for (int i = 0; i < 4; ++i) m[i] = larger(m[i], m[i + 4]);
  return larger(larger(m[0], m[2]), larger(m[1], m[3]));
}

[[gnu::always_inline]] inline std::int64_t first_equal(const float* values, float wanted) {
  std::uint32_t equal = 0;
  for (std::uint32_t i = 0; i < block; ++i)
    equal |= static_cast<std::uint32_t>(values[i] == wanted) << i;
  return __builtin_ctz(equal);
}

MESHSIM_CLONES void take_largest(float* values, float* best, std::int64_t blocks, std::int64_t k,
                                 ExpertId* chosen) {
  for (std::int64_t b = 0; b < blocks; ++b) best[b] = largest_of_block(values + b * block);
  const std::int64_t groups = blocks / block;
  for (std::int64_t j = 0; j < k; ++j) {
    float most = best[0];
    std::int64_t group = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const float candidate = largest_of_block(best + g * block);
      if (g == 0 || candidate > most) {
        most = candidate;
        group = g;
      }
    }
    const std::int64_t b = group * block + first_equal(best + group * block, most);
    float* const winner_block = values + b * block;
    const std::int64_t i = first_equal(winner_block, most);
    chosen[j] = static_cast<ExpertId>(b * block + i);
    winner_block[i] = none;
    best[b] = largest_of_block(winner_block);
  }
}

}  // namespace

TopK::TopK(std::int64_t width, std::int64_t k)
    : width_(width), k_(k), blocks_(ceil_div(ceil_div(width, block), block) * block) {
  if (k < 1 || k > width)
    throw Error(ErrorKind::invalid_input,
                fmt::format("top_k {} must lie between 1 and the {} experts", k, width));
  values_.assign(static_cast<std::size_t>(blocks_ * block), none);
  best_.resize(static_cast<std::size_t>(blocks_));
}

void TopK::operator()(const float* values, ExpertId* chosen) {
  // Values of -infinity (experts that grouped routing left out) would equal the padding and the
  // winners that were taken; they are told apart as the lowest finite value.
  std::copy_n(values, width_, values_.begin());
  for (std::int64_t e = 0; e < width_; ++e) {
    float& value = values_[static_cast<std::size_t>(e)];
    value = larger(std::numeric_limits<float>::lowest(), value);  // a NaN is the lowest, too
  }
  take_largest(values_.data(), best_.data(), blocks_, k_, chosen);
}

}  // namespace meshsim
