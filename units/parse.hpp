// Numbers and quantities from text, strictly: all of the text, no rounding, no surprises.
//
// An integer is an optional minus and decimal digits without leading zeros ("0x10", "010",
// "1_000", "+1", "1e3" and "-0" are refused). A real is a JSON number, finite and not -0. Integers
// beyond +-2^53 are refused as well: they would not survive a JSON reader that holds doubles.
//
// A quantity is a number that is not negative, an optional space and a unit that must be present:
// "80 GiB", "90 GB/s", "1 us". GB is 1e9 bytes, GiB is 2^30. Bytes and picoseconds are counted
// exactly; what is a fraction of one is rounded to the nearest ("95.74 GiB") and refused if the
// unit itself is the byte or the picosecond ("1.5 B") or nothing would be left.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "units/quantity.hpp"

namespace meshsim {

inline constexpr std::int64_t largest_exact_integer = std::int64_t{1} << 53;

// A value, or the reason why the text is none ("is not an integer (got '010')").
template <class T>
class Parsed {
 public:
  static Parsed ok(T value) { return Parsed(std::in_place_index<0>, std::move(value)); }
  static Parsed refused(std::string why) { return Parsed(std::in_place_index<1>, std::move(why)); }

  explicit operator bool() const { return state_.index() == 0; }
  const T& value() const { return std::get<0>(state_); }
  const std::string& why() const { return std::get<1>(state_); }

 private:
  template <std::size_t I, class U>
  Parsed(std::in_place_index_t<I> index, U&& u) : state_(index, std::forward<U>(u)) {}
  std::variant<T, std::string> state_;
};

Parsed<std::int64_t> parse_integer(std::string_view text);
Parsed<double> parse_real(std::string_view text);
// "true"/"false" in any case, as MaxText's command line takes them.
Parsed<bool> parse_bool(std::string_view text);
// "4x8x8": one to four factors, each >= 1.
Parsed<std::vector<std::int64_t>> parse_shape(std::string_view text);

Parsed<Bytes> parse_bytes(std::string_view text);               // B kB MB GB TB KiB ... TiB
Parsed<BytesPerSecond> parse_bandwidth(std::string_view text);  // the same, with /s
Parsed<FlopsPerSecond> parse_flop_rate(std::string_view text);  // GFLOP/s TFLOP/s PFLOP/s
Parsed<Picoseconds> parse_duration(std::string_view text);      // ps ns us ms s

}  // namespace meshsim
