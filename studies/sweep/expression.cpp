#include "studies/sweep/expression.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "studies/sweep/expression_term.hpp"

namespace meshsim {

Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;
Expression::~Expression() = default;

namespace {

using Op = Expression::Term::Op;

// Evaluates one tree; knows where to point when that fails.
class Computation {
 public:
  Computation(std::span<const Value* const> values, const ExpressionPlace& place)
      : values_(values), place_(place) {}

  Value value(const Expression::Term& term) const {
    switch (term.op) {
      case Op::literal: return term.literal;
      case Op::variable: return *values_[term.variable];
      case Op::list: throw place_.error(term.position, "a list stands after 'in' only");
      case Op::negate: return negated(term);
      case Op::logical_not: return Value::of(!condition(*term.operands[0]));
      case Op::logical_and:
        return Value::of(condition(*term.operands[0]) && condition(*term.operands[1]));
      case Op::logical_or:
        return Value::of(condition(*term.operands[0]) || condition(*term.operands[1]));
      case Op::comparison: return Value::of(compared(term));
      default:
        return arithmetic(term.op, term.position, value(*term.operands[0]),
                          value(*term.operands[1]));
    }
  }

  bool condition(const Expression::Term& term) const {
    const Value result = value(term);
    if (result.kind != Value::Kind::boolean)
      throw place_.error(term.position,
                         fmt::format("is not true or false (it is {})", described(result)));
    return result.flag;
  }

 private:
  Value negated(const Expression::Term& term) const {
    const Value operand = number(*term.operands[0], "-");
    if (operand.kind == Value::Kind::real) return Value::of(-operand.real);
    return arithmetic(Op::subtract, term.position, Value::of(std::int64_t{0}), operand);
  }

  Value number(const Expression::Term& term, std::string_view op) const {
    const Value result = value(term);
    if (!result.is_number())
      throw place_.error(term.position,
                         fmt::format("'{}' wants a number (got {})", op, described(result)));
    return result;
  }

  Value arithmetic(Op op, std::size_t position, const Value& left, const Value& right) const {
    for (const Value* side : {&left, &right}) {
      if (!side->is_number())
        throw place_.error(
            position, fmt::format("'{}' wants numbers (got {})", symbol(op), described(*side)));
    }
    const bool integers = left.kind == Value::Kind::integer && right.kind == Value::Kind::integer;
    if ((op == Op::divide || op == Op::modulo) && right.number() == 0)
      throw place_.error(position, "is a division by zero");
    if (op == Op::modulo && !integers)
      throw place_.error(position, fmt::format("'%' wants integers (got {} and {})",
                                               described(left), described(right)));
    if (integers) return on_integers(op, position, left.integer, right.integer);
    switch (op) {
      case Op::add: return Value::of(left.number() + right.number());
      case Op::subtract: return Value::of(left.number() - right.number());
      case Op::multiply: return Value::of(left.number() * right.number());
      default: return Value::of(left.number() / right.number());
    }
  }

  Value on_integers(Op op, std::size_t position, std::int64_t a, std::int64_t b) const {
    std::int64_t result = 0;
    bool overflow = false;
    switch (op) {
      case Op::add: overflow = __builtin_add_overflow(a, b, &result); break;
      case Op::subtract: overflow = __builtin_sub_overflow(a, b, &result); break;
      case Op::multiply: overflow = __builtin_mul_overflow(a, b, &result); break;
      case Op::modulo: return Value::of(b == -1 ? std::int64_t{0} : a % b);
      default:
        if (b == -1) {
          overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
          break;
        }
        if (a % b != 0) return Value::of(static_cast<double>(a) / static_cast<double>(b));
        result = a / b;
    }
    if (overflow)
      throw place_.error(position, fmt::format("{} {} {} is beyond 64 bits", a, symbol(op), b));
    return Value::of(result);
  }

  // a < b <= c: every neighbouring pair holds.
  bool compared(const Expression::Term& term) const {
    Value left = value(*term.operands[0]);
    for (std::size_t i = 0; i < term.comparisons.size(); ++i) {
      const Expression::Term& operand = *term.operands[i + 1];
      const auto comparison = term.comparisons[i];
      if (comparison == Comparison::in || comparison == Comparison::not_in) {
        if (is_among(left, operand) != (comparison == Comparison::in)) return false;
        continue;
      }
      const Value right = value(operand);
      if (!holds(comparison, left, right, operand.position)) return false;
      left = right;
    }
    return true;
  }

  bool is_among(const Value& left, const Expression::Term& operand) const {
    if (operand.op != Op::list) throw place_.error(operand.position, "'in' wants a list: [a, b]");
    return std::any_of(operand.operands.begin(), operand.operands.end(),
                       [&](const auto& item) { return left == value(*item); });
  }

  bool holds(Comparison comparison, const Value& left, const Value& right,
             std::size_t position) const {
    if (comparison == Comparison::equal) return left == right;
    if (comparison == Comparison::not_equal) return !(left == right);
    if (!left.is_number() || !right.is_number())
      throw place_.error(position, fmt::format("only numbers have an order (got {} and {})",
                                               described(left), described(right)));
    const auto order = [&](auto a, auto b) {
      switch (comparison) {
        case Comparison::less: return a < b;
        case Comparison::at_most: return a <= b;
        case Comparison::greater: return a > b;
        default: return a >= b;
      }
    };
    if (left.kind == Value::Kind::integer && right.kind == Value::Kind::integer)
      return order(left.integer, right.integer);
    return order(left.number(), right.number());
  }

  static std::string_view symbol(Op op) {
    switch (op) {
      case Op::add: return "+";
      case Op::subtract: return "-";
      case Op::multiply: return "*";
      case Op::divide: return "/";
      default: return "%";
    }
  }

  std::span<const Value* const> values_;
  const ExpressionPlace& place_;
};

}  // namespace

bool Expression::holds(std::span<const Value* const> values) const {
  const ExpressionPlace place{text_, where_, quoted_};
  return Computation(values, place).condition(*root_);
}

}  // namespace meshsim
