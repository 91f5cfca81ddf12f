// Element types of tensors, under MaxText's names.
#pragma once

#include <cstdint>
#include <string_view>

#include "units/parse.hpp"

namespace meshsim {

enum class DType { bfloat16, float16, float32, int8, int32, float8 };

// Bytes of one element.
constexpr std::int64_t element_bytes(DType type) {
  switch (type) {
    case DType::int8:
    case DType::float8: return 1;
    case DType::bfloat16:
    case DType::float16: return 2;
    case DType::float32:
    case DType::int32: return 4;
  }
  return 0;
}

std::string_view name(DType type);
Parsed<DType> parse_dtype(std::string_view text);

}  // namespace meshsim
