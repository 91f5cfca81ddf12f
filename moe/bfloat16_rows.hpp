// Many elements at once between float32 and bfloat16, as bfloat16.hpp converts one.
#pragma once

#include <cstdint>

#include "moe/bfloat16.hpp"

namespace meshsim {

void narrow(const float* wide, std::int64_t count, Bf16* narrow);
void widen(const Bf16* narrow, std::int64_t count, float* wide);

}  // namespace meshsim
