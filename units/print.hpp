// Quantities for people. Tables use GiB (2^30), as XLA does while printing "G"; raw integers go to
// JSON. Nothing here depends on the locale.
#pragma once

#include <string>

#include "units/quantity.hpp"

namespace meshsim {

std::string in_gib(Bytes bytes);            // "17.14 GiB"
std::string human(Bytes bytes);             // the largest binary unit that leaves >= 1: "8.5 KiB"
std::string human(BytesPerSecond rate);     // "90 GB/s" (decimal)
std::string human(FlopsPerSecond rate);     // "459 TFLOP/s"
std::string human(Picoseconds time);        // "12.5 us"
std::string grouped(std::int64_t integer);  // "284,333,639,255"

}  // namespace meshsim
