// Conditions over the keys of a plan: `ici_fsdp_parallelism * ici_expert_parallelism == chips`.
//
//   or        and        not
//   == != < <= > >=  in  not in        (chains: 1 <= batch <= 8)
//   + -       * / %      -x
//   4  0.5  true  false  None  'text'  [a, b]  (x)  name
//
// Integers stay integers: sums and products are checked, a quotient is an integer where it is
// whole. `and` and `or` look at their right side only if they must. Whatever cannot be computed
// (text + 1, a division by zero) is an error with its place, never false.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inputs/node.hpp"
#include "studies/sweep/value.hpp"

namespace meshsim {

class Expression {
 public:
  // Throws Error(invalid_input) with the position for malformed text, and for a name that is not in
  // `names`, with the nearest ones.
  Expression(const Node& source, std::span<const std::string> names);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  // The names that stand in it, each once.
  const std::vector<std::string>& variables() const { return variables_; }
  const std::string& text() const { return text_; }

  // `values[i]` is that of variables()[i]. Throws Error(invalid_input) with the position when it
  // cannot be computed or is no condition.
  bool holds(std::span<const Value* const> values) const;

  struct Term;  // of the parsed tree

 private:
  friend class ExpressionParser;

  std::string text_;
  Location where_;
  bool quoted_ = false;
  std::vector<std::string> variables_;
  std::unique_ptr<Term> root_;
};

}  // namespace meshsim
