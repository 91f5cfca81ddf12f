#include "units/dtype.hpp"

#include <fmt/format.h>

#include <array>

#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::array all_types{DType::bfloat16, DType::float16, DType::float32,
                               DType::int8,     DType::int32,   DType::float8};

}  // namespace

std::string_view name(DType type) {
  switch (type) {
    case DType::bfloat16: return "bfloat16";
    case DType::float16: return "float16";
    case DType::float32: return "float32";
    case DType::int8: return "int8";
    case DType::int32: return "int32";
    case DType::float8: return "float8";
  }
  return "";
}

Parsed<DType> parse_dtype(std::string_view text) {
  for (const DType type : all_types) {
    if (name(type) == text) return Parsed<DType>::ok(type);
  }
  return Parsed<DType>::refused(fmt::format(
      "is not an element type (got {}, want bfloat16, float16 or float32)", in_quotes(text)));
}

}  // namespace meshsim
