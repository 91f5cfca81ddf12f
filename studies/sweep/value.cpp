#include "studies/sweep/value.hpp"

#include <fmt/format.h>

#include "units/parse.hpp"

namespace meshsim {

Value Value::of(bool flag) {
  Value value;
  value.kind = Kind::boolean;
  value.flag = flag;
  return value;
}

Value Value::of(std::int64_t integer) {
  Value value;
  value.kind = Kind::integer;
  value.integer = integer;
  return value;
}

Value Value::of(double real) {
  Value value;
  value.kind = Kind::real;
  value.real = real;
  return value;
}

Value Value::of(const std::string& text) {
  Value value;
  value.kind = Kind::text;
  value.text = &text;
  return value;
}

bool Value::operator==(const Value& other) const {
  if (is_number() && other.is_number()) {
    if (kind == Kind::integer && other.kind == Kind::integer) return integer == other.integer;
    return number() == other.number();
  }
  if (kind != other.kind) return false;
  switch (kind) {
    case Kind::none: return true;
    case Kind::boolean: return flag == other.flag;
    case Kind::text: return *text == *other.text;
    default: return false;  // numbers were compared above
  }
}

Value value_of(const Node& node) {
  if (node.kind == Node::Kind::null) return {};
  if (node.kind != Node::Kind::scalar || node.quoted) return Value::of(node.text);
  if (node.text == "None" || node.text.empty()) return {};
  if (const auto integer = parse_integer(node.text)) return Value::of(integer.value());
  if (const auto real = parse_real(node.text)) return Value::of(real.value());
  if (const auto flag = parse_bool(node.text)) return Value::of(flag.value());
  return Value::of(node.text);
}

std::string described(const Value& value) {
  switch (value.kind) {
    case Value::Kind::none: return "None";
    case Value::Kind::boolean: return value.flag ? "true" : "false";
    case Value::Kind::integer: return fmt::format("{}", value.integer);
    case Value::Kind::real: return fmt::format("{}", value.real);
    case Value::Kind::text: return in_quotes(*value.text);
  }
  return "";
}

}  // namespace meshsim
