#include "moe/bfloat16_rows.hpp"

#include "moe/clones.hpp"

namespace meshsim {
namespace {

MESHSIM_CLONES void narrow_all(const float* __restrict wide, std::int64_t count,
                               Bf16* __restrict narrow) {
  for (std::int64_t i = 0; i < count; ++i) narrow[i] = from_float<Bf16>(wide[i]);
}

MESHSIM_CLONES void widen_all(const Bf16* __restrict narrow, std::int64_t count,
                              float* __restrict wide) {
  for (std::int64_t i = 0; i < count; ++i) wide[i] = to_float(narrow[i]);
}

}  // namespace

void narrow(const float* wide, std::int64_t count, Bf16* narrow) {
  narrow_all(wide, count, narrow);
}

void widen(const Bf16* narrow, std::int64_t count, float* wide) { widen_all(narrow, count, wide); }

}  // namespace meshsim
