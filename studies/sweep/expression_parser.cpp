#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>
#include <utility>

#include "inputs/nearest.hpp"
#include "studies/sweep/expression_term.hpp"
#include "units/parse.hpp"

namespace meshsim {

Error ExpressionPlace::error(std::size_t position, std::string what, std::string hint) const {
  Location at = where;
  // A text in quotes begins one column later; a text over several lines has its place in words
  // only.
  if (at.line > 0 && text.find('\n') == std::string::npos)
    at.column += static_cast<int>(position) + (quoted ? 1 : 0);
  return {ErrorKind::invalid_input,
          Diagnostic{at, "where",
                     fmt::format("{} (at character {} of {})", what, position + 1, in_quotes(text)),
                     std::move(hint)}};
}

namespace {

constexpr int deepest = 64;  // parentheses, negations

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

}  // namespace

// Recursive descent, one function for each level of precedence.
class ExpressionParser {
 public:
  ExpressionParser(Expression& expression, std::span<const std::string> names)
      : place_{expression.text_, expression.where_, expression.quoted_},
        text_(expression.text_),
        variables_(expression.variables_),
        names_(names) {}

  std::unique_ptr<Expression::Term> parse() {
    auto root = disjunction();
    skip_space();
    if (at_ != text_.size())
      throw place_.error(at_, fmt::format("'{}' is not expected here", next_word()),
                         "a condition such as ici_fsdp_parallelism * 4 == chips");
    return root;
  }

 private:
  using Term = Expression::Term;
  using Op = Term::Op;
  using Pointer = std::unique_ptr<Term>;

  // One level deeper, for as long as it lives: the text cannot exhaust the stack.
  struct Deeper {
    explicit Deeper(ExpressionParser& p) : parser(p) {
      if (++parser.depth_ > deepest)
        throw parser.place_.error(parser.at_, fmt::format("is nested deeper than {}", deepest));
    }
    ~Deeper() { --parser.depth_; }
    ExpressionParser& parser;
  };

  Pointer binary(Op op, std::size_t position, Pointer left, Pointer right) {
    auto term = std::make_unique<Term>();
    term->op = op;
    term->position = position;
    term->operands.push_back(std::move(left));
    term->operands.push_back(std::move(right));
    return term;
  }

  Pointer disjunction() {
    const Deeper deeper(*this);
    Pointer left = conjunction();
    while (true) {
      const std::size_t position = here();
      if (!word("or")) return left;
      left = binary(Op::logical_or, position, std::move(left), conjunction());
    }
  }

  Pointer conjunction() {
    Pointer left = negation();
    while (true) {
      const std::size_t position = here();
      if (!word("and")) return left;
      left = binary(Op::logical_and, position, std::move(left), negation());
    }
  }

  Pointer negation() {
    const std::size_t position = here();
    if (!word("not")) return comparison();
    const Deeper deeper(*this);
    auto term = std::make_unique<Term>();
    term->op = Op::logical_not;
    term->position = position;
    term->operands.push_back(negation());
    return term;
  }

  std::optional<Comparison> comparison_sign() {
    if (sign("==")) return Comparison::equal;
    if (sign("!=")) return Comparison::not_equal;
    if (sign("<=")) return Comparison::at_most;
    if (sign(">=")) return Comparison::at_least;
    if (sign("<")) return Comparison::less;
    if (sign(">")) return Comparison::greater;
    if (word("in")) return Comparison::in;
    const std::size_t before = at_;
    if (word("not")) {
      if (word("in")) return Comparison::not_in;
      at_ = before;
    }
    skip_space();
    if (at_ < text_.size() && text_[at_] == '=')
      throw place_.error(at_, "'=' does not compare", "== does");
    return {};
  }

  Pointer comparison() {
    const std::size_t position = here();
    Pointer left = sum();
    std::optional<Comparison> sign = comparison_sign();
    if (!sign) return left;
    auto term = std::make_unique<Term>();
    term->op = Op::comparison;
    term->position = position;
    term->operands.push_back(std::move(left));
    while (sign) {
      term->comparisons.push_back(*sign);
      term->operands.push_back(sum());
      sign = comparison_sign();
    }
    return term;
  }

  Pointer sum() {
    Pointer left = product();
    while (true) {
      const std::size_t position = here();
      if (sign("+")) {
        left = binary(Op::add, position, std::move(left), product());
      } else if (sign("-")) {
        left = binary(Op::subtract, position, std::move(left), product());
      } else {
        return left;
      }
    }
  }

  Pointer product() {
    Pointer left = factor();
    while (true) {
      const std::size_t position = here();
      if (sign("*")) {
        left = binary(Op::multiply, position, std::move(left), factor());
      } else if (sign("/")) {
        left = binary(Op::divide, position, std::move(left), factor());
      } else if (sign("%")) {
        left = binary(Op::modulo, position, std::move(left), factor());
      } else {
        return left;
      }
    }
  }

  Pointer factor() {
    const std::size_t position = here();
    if (sign("-")) {
      const Deeper deeper(*this);
      auto term = std::make_unique<Term>();
      term->op = Op::negate;
      term->position = position;
      term->operands.push_back(factor());
      return term;
    }
    if (sign("(")) {
      Pointer inner = disjunction();
      expect(")");
      return inner;
    }
    if (sign("[")) return list(position);
    if (position < text_.size() && (text_[position] == '\'' || text_[position] == '"'))
      return quoted(position);
    if (position < text_.size() &&
        (std::isdigit(static_cast<unsigned char>(text_[position])) != 0 || text_[position] == '.'))
      return number(position);
    return name(position);
  }

  Pointer list(std::size_t position) {
    auto term = std::make_unique<Term>();
    term->op = Op::list;
    term->position = position;
    if (sign("]")) return term;
    do {
      term->operands.push_back(disjunction());
    } while (sign(","));
    expect("]");
    return term;
  }

  Pointer quoted(std::size_t position) {
    const std::size_t close = text_.find(text_[position], position + 1);
    if (close == std::string::npos) throw place_.error(position, "the text is not closed");
    auto term = std::make_unique<Term>();
    term->position = position;
    term->literal_text = text_.substr(position + 1, close - position - 1);
    term->literal = Value::of(term->literal_text);
    at_ = close + 1;
    return term;
  }

  Pointer number(std::size_t position) {
    while (at_ < text_.size() &&
           (is_name(text_[at_]) || text_[at_] == '.' ||
            ((text_[at_] == '-' || text_[at_] == '+') && (text_[at_ - 1] == 'e'))))
      ++at_;
    const std::string digits = text_.substr(position, at_ - position);
    auto term = std::make_unique<Term>();
    term->position = position;
    if (const auto integer = parse_integer(digits)) {
      term->literal = Value::of(integer.value());
    } else if (const auto real = parse_real(digits)) {
      term->literal = Value::of(real.value());
    } else {
      throw place_.error(position, real.why());
    }
    return term;
  }

  Pointer name(std::size_t position) {
    const std::string word = next_word();
    if (word.empty() || !is_name(word.front()))
      throw place_.error(position, word.empty()
                                       ? "something is missing here"
                                       : fmt::format("'{}' is not expected here", printable(word)));
    at_ = position + word.size();
    auto term = std::make_unique<Term>();
    term->position = position;
    if (word == "true" || word == "True" || word == "false" || word == "False") {
      term->literal = Value::of(word == "true" || word == "True");
      return term;
    }
    if (word == "None") return term;
    if (std::find(names_.begin(), names_.end(), word) == names_.end()) {
      const std::string near = did_you_mean(word, names_);
      throw place_.error(position, fmt::format("'{}' is not a key, chips, slices or devices", word),
                         near.empty() ? fmt::format("a text stands in quotes: '{}'", word) : near);
    }
    term->op = Op::variable;
    const auto known = std::find(variables_.begin(), variables_.end(), word);
    term->variable = static_cast<std::size_t>(known - variables_.begin());
    if (known == variables_.end()) variables_.push_back(word);
    return term;
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }

  std::size_t here() {
    skip_space();
    return at_;
  }

  std::string next_word() const {
    std::size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    return text_.substr(at_, std::max<std::size_t>(end - at_, at_ < text_.size() ? 1 : 0));
  }

  bool sign(std::string_view wanted) {
    skip_space();
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }

  bool word(std::string_view wanted) {
    skip_space();
    if (next_word() != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  void expect(std::string_view wanted) {
    if (!sign(wanted)) throw place_.error(at_, fmt::format("'{}' is missing", wanted));
  }

  ExpressionPlace place_;
  const std::string& text_;
  std::vector<std::string>& variables_;
  std::span<const std::string> names_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Expression::Expression(const Node& source, std::span<const std::string> names)
    : text_(source.text), where_(source.where), quoted_(source.quoted) {
  if (source.kind != Node::Kind::scalar)
    throw Error(ErrorKind::invalid_input,
                Diagnostic{source.where, "where",
                           fmt::format("must be a condition (got {})", meshsim::described(source)),
                           "ici_fsdp_parallelism * ici_expert_parallelism == chips"});
  root_ = ExpressionParser(*this, names).parse();
}

}  // namespace meshsim
