// A value in a condition of a sweep: what a key holds, or what an expression comes to.
#pragma once

#include <cstdint>
#include <string>

#include "inputs/node.hpp"

namespace meshsim {

// Refers to texts that live elsewhere (in the space, in the expression), so that millions of
// conditions are evaluated without an allocation.
struct Value {
  enum class Kind { none, boolean, integer, real, text };

  Kind kind = Kind::none;
  bool flag = false;
  std::int64_t integer = 0;
  double real = 0;
  const std::string* text = nullptr;

  static Value of(bool flag);
  static Value of(std::int64_t integer);
  static Value of(double real);
  static Value of(const std::string& text);  // must outlive the value

  bool is_number() const { return kind == Kind::integer || kind == Kind::real; }
  double number() const { return kind == Kind::integer ? static_cast<double>(integer) : real; }
  bool operator==(const Value& other) const;  // 1 == 1.0; a text is equal to a text only
};

// A plan value: 4, 0.5, true, None or text. Lists and mappings of plans are their text. `node` must
// outlive the value.
Value value_of(const Node& node);

std::string described(const Value& value);  // "4", "'flash'"

}  // namespace meshsim
