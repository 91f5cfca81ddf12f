#include "units/print.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <span>
#include <string_view>

namespace meshsim {
namespace {

struct Scale {
  std::string_view unit;
  double size;
};

// Four significant digits without trailing zeros, in the largest unit that leaves at least 1.
std::string scaled(double value, std::span<const Scale> largest_first) {
  constexpr double rounds_to_one = 0.99995;  // 0.99996 TiB is "1 TiB", not "1024 GiB"
  for (const Scale& scale : largest_first) {
    const double shown = value / scale.size;
    // From 1000 on all digits, as four of them would need an exponent (1e+04 s).
    if (std::abs(shown) >= 1000) return fmt::format("{:.0f} {}", shown, scale.unit);
    if (std::abs(shown) >= rounds_to_one) return fmt::format("{:.4g} {}", shown, scale.unit);
  }
  return fmt::format("{:.4g} {}", value / largest_first.back().size, largest_first.back().unit);
}

}  // namespace

std::string in_gib(Bytes bytes) { return fmt::format("{:.2f} GiB", bytes / gib); }

std::string human(Bytes bytes) {
  constexpr std::array scales{Scale{"TiB", 0x1p40}, Scale{"GiB", 0x1p30}, Scale{"MiB", 0x1p20},
                              Scale{"KiB", 0x1p10}, Scale{"B", 1.0}};
  return scaled(static_cast<double>(bytes.value()), scales);
}

std::string human(BytesPerSecond rate) {
  constexpr std::array scales{Scale{"TB/s", 1e12}, Scale{"GB/s", 1e9}, Scale{"MB/s", 1e6},
                              Scale{"kB/s", 1e3}, Scale{"B/s", 1.0}};
  return scaled(rate.value(), scales);
}

std::string human(FlopsPerSecond rate) {
  constexpr std::array scales{Scale{"PFLOP/s", 1e15}, Scale{"TFLOP/s", 1e12}, Scale{"GFLOP/s", 1e9},
                              Scale{"FLOP/s", 1.0}};
  return scaled(rate.value(), scales);
}

std::string human(Picoseconds time) {
  constexpr std::array scales{Scale{"s", 1e12}, Scale{"ms", 1e9}, Scale{"us", 1e6},
                              Scale{"ns", 1e3}, Scale{"ps", 1.0}};
  return scaled(static_cast<double>(time.value()), scales);
}

std::string grouped(std::int64_t integer) {
  std::string digits = fmt::format("{}", integer);
  const std::size_t first = digits.front() == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace meshsim
