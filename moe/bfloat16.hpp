// bfloat16 as storage: the upper half of a float32, rounded to nearest, ties to even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace meshsim {

struct Bf16 {
  std::uint16_t bits;

  bool operator==(const Bf16&) const = default;
};

inline float to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}
inline float to_float(float value) { return value; }

// The element type's nearest value; a NaN stays one.
template <class T>
T from_float(float value);

template <>
inline float from_float<float>(float value) {
  return value;
}

template <>
inline Bf16 from_float<Bf16>(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t even = bits + 0x7fffU + ((bits >> 16) & 1U);
  const std::uint32_t quiet_nan = bits | 0x400000U;
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  return Bf16{static_cast<std::uint16_t>((nan ? quiet_nan : even) >> 16)};
}

inline float rounded_to_bf16(float value) { return to_float(from_float<Bf16>(value)); }

}  // namespace meshsim
