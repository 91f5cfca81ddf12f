// Strong quantities: a number that knows what it counts.
//
// Counted things (bytes, tokens, FLOPs, picoseconds) are 64-bit integers with checked arithmetic;
// rates (bytes/s, FLOP/s) are doubles. Two quantities of different kinds do not mix:
//
//   Bytes + Bytes = Bytes       Bytes * 3 = Bytes       Bytes / Bytes = double (a plain ratio)
//   Bytes / BytesPerSecond = Picoseconds     FlopCount / FlopsPerSecond = Picoseconds
//
// A duration is rounded up to the next picosecond: work is never done early. What lies within a
// double's rounding error (2^-50) of a whole picosecond is that picosecond.
#pragma once

#include <compare>
#include <cstdint>

#include "units/checked.hpp"

namespace meshsim {

template <class Tag>
class Count {
 public:
  constexpr Count() = default;
  constexpr explicit Count(std::int64_t value) : value_(value) {}

  constexpr std::int64_t value() const { return value_; }
  constexpr auto operator<=>(const Count&) const = default;

  friend Count operator+(Count a, Count b) {
    return Count(checked_add(a.value_, b.value_, Tag::name));
  }
  friend Count operator-(Count a, Count b) {
    return Count(checked_subtract(a.value_, b.value_, Tag::name));
  }
  friend Count operator*(Count a, std::int64_t times) {
    return Count(checked_multiply(a.value_, times, Tag::name));
  }
  friend Count operator*(std::int64_t times, Count a) { return a * times; }
  friend double operator/(Count a, Count b) {
    return static_cast<double>(a.value_) / static_cast<double>(b.value_);
  }
  Count& operator+=(Count other) { return *this = *this + other; }
  Count& operator-=(Count other) { return *this = *this - other; }

 private:
  std::int64_t value_ = 0;
};

template <class Tag>
class Rate {
 public:
  constexpr Rate() = default;
  constexpr explicit Rate(double value) : value_(value) {}

  constexpr double value() const { return value_; }
  constexpr auto operator<=>(const Rate&) const = default;

  friend constexpr Rate operator+(Rate a, Rate b) { return Rate(a.value_ + b.value_); }
  friend constexpr Rate operator*(Rate a, double times) { return Rate(a.value_ * times); }
  friend constexpr Rate operator*(double times, Rate a) { return a * times; }
  friend constexpr double operator/(Rate a, Rate b) { return a.value_ / b.value_; }

 private:
  double value_ = 0;
};

struct BytesTag {
  static constexpr const char* name = "bytes";
};
struct TokensTag {
  static constexpr const char* name = "tokens";
};
struct FlopTag {
  static constexpr const char* name = "FLOPs";
};
struct PicosecondsTag {
  static constexpr const char* name = "picoseconds";
};
struct BytesPerSecondTag {};
struct FlopsPerSecondTag {};

using Bytes = Count<BytesTag>;
using Tokens = Count<TokensTag>;
using FlopCount = Count<FlopTag>;
using Picoseconds = Count<PicosecondsTag>;
using BytesPerSecond = Rate<BytesPerSecondTag>;
using FlopsPerSecond = Rate<FlopsPerSecondTag>;

// `seconds` as simulated time, rounded up. Throws Error unless 0 <= seconds < 2^63 ps (106 days).
Picoseconds picoseconds_from_seconds(double seconds);

inline Picoseconds operator/(Bytes amount, BytesPerSecond rate) {
  return picoseconds_from_seconds(static_cast<double>(amount.value()) / rate.value());
}
inline Picoseconds operator/(FlopCount amount, FlopsPerSecond rate) {
  return picoseconds_from_seconds(static_cast<double>(amount.value()) / rate.value());
}

constexpr double seconds(Picoseconds time) { return static_cast<double>(time.value()) / 1e12; }

inline constexpr Bytes kib{std::int64_t{1} << 10};
inline constexpr Bytes mib{std::int64_t{1} << 20};
inline constexpr Bytes gib{std::int64_t{1} << 30};
inline constexpr Bytes gigabyte{1'000'000'000};

}  // namespace meshsim
