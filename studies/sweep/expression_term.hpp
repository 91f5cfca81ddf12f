// The parsed form of an expression, shared by its parser and its evaluation.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "studies/sweep/expression.hpp"

namespace meshsim {

enum class Comparison { equal, not_equal, less, at_most, greater, at_least, in, not_in };

struct Expression::Term {
  enum class Op {
    literal,
    variable,
    list,
    negate,
    logical_not,
    logical_and,
    logical_or,
    comparison,
    add,
    subtract,
    multiply,
    divide,
    modulo,
  };

  Op op = Op::literal;
  std::size_t position = 0;  // in the text, from 0
  Value literal;
  std::string literal_text;  // of a literal text: `literal` refers to it
  std::size_t variable = 0;
  std::vector<std::unique_ptr<Term>> operands;
  std::vector<Comparison> comparisons;  // between neighbouring operands
};

// Where an expression stands: makes its errors.
struct ExpressionPlace {
  const std::string& text;
  const Location& where;
  bool quoted;

  Error error(std::size_t position, std::string what, std::string hint = {}) const;
};

}  // namespace meshsim
