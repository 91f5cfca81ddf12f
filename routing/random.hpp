// Random numbers by place: the i-th draw of a seed, without a state, equal on every machine and
// whatever the order in which they are asked for. (splitmix64, Steele, Lea and Flood 2014.)
#pragma once

#include <cstdint>

namespace meshsim {

constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// A seed for the part `index` of what `seed` describes.
constexpr std::uint64_t sub_seed(std::uint64_t seed, std::uint64_t index) {
  return random_bits(seed ^ 0x5851f42d4c957f2dULL, index);
}

// Uniform in [0, 1), 53 bits.
constexpr double random_unit(std::uint64_t seed, std::uint64_t index) {
  return static_cast<double>(random_bits(seed, index) >> 11) * 0x1p-53;
}

// Uniform in 0 .. bound-1; bound < 2^32, so that the bias stays under 2^-31.
constexpr std::int64_t random_below(std::uint64_t seed, std::uint64_t index, std::int64_t bound) {
  const std::uint64_t high = random_bits(seed, index) >> 32;
  return static_cast<std::int64_t>((high * static_cast<std::uint64_t>(bound)) >> 32);
}

}  // namespace meshsim
