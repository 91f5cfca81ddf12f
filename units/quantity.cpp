#include "units/quantity.hpp"

#include <fmt/format.h>

#include <cmath>

#include "units/error.hpp"

namespace meshsim {

Picoseconds picoseconds_from_seconds(double seconds) {
  const double exact = seconds * 1e12;
  // The double nearest to 1e-9 s lies above it; it is 1000 ps all the same, not 1001.
  constexpr double rounding_error = 0x1p-50;
  const double nearest = std::round(exact);
  const bool whole = std::abs(exact - nearest) <= exact * rounding_error;
  const double ps = whole ? nearest : std::ceil(exact);
  if (!(ps >= 0 && ps < 0x1p63)) {
    throw Error(
        ErrorKind::invalid_input,
        fmt::format("a duration of {} s does not fit simulated time (0 to 2^63 ps)", seconds));
  }
  return Picoseconds(static_cast<std::int64_t>(ps));
}

}  // namespace meshsim
