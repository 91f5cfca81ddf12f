// Conditions of a space: what they mean, and what is refused.
#include <catch2/catch.hpp>
#include <map>

#include "studies/sweep/expression.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

const std::string attention = "flash";

// chips = 256, batch = 0.5, attention = flash, scan = true, nothing = None.
bool holds(const std::string& text) {
  static const std::map<std::string, Value> values{{"chips", Value::of(std::int64_t{256})},
                                                   {"batch", Value::of(0.5)},
                                                   {"attention", Value::of(attention)},
                                                   {"scan", Value::of(true)},
                                                   {"nothing", Value()}};
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  Node source;
  source.kind = Node::Kind::scalar;
  source.text = text;
  source.where = {"space.yml", 7, 3};
  const Expression expression(source, names);
  std::vector<const Value*> given;
  for (const std::string& name : expression.variables()) given.push_back(&values.at(name));
  return expression.holds(given);
}

}  // namespace

TEST_CASE("conditions compute as they read", "[studies][expression]") {
  for (const char* text :
       {"chips == 256", "chips == 2 * 128", "chips / 3 > 85", "chips % 10 == 6", "-chips < 0",
        "1 + 2 * 3 == 7", "(1 + 2) * 3 == 9", "10 - 4 - 3 == 3", "16 / 4 / 2 == 2",
        "batch * chips == 128", "1 <= chips <= 256", "not chips < 256", "scan",
        "scan and chips > 1", "chips < 1 or scan", "not scan or batch < 1", "attention == 'flash'",
        "attention in ['dot_product', 'flash']", "chips not in [1, 2]", "nothing == None",
        "attention != 4", "scan == true", "1 == 1.0",
        // `and` binds more tightly than `or`, `not` more tightly than both
        "true or false and false", "not false and true"}) {
    INFO(text);
    CHECK(holds(text));
    CHECK_FALSE(holds("not (" + std::string(text) + ")"));
  }
}

TEST_CASE("the right side is looked at only if it must be", "[studies][expression]") {
  CHECK_FALSE(holds("chips < 1 and 1 / 0 == 1"));
  CHECK(holds("chips > 1 or 1 / 0 == 1"));
}

TEST_CASE("what cannot be computed is an error at its place", "[studies][expression]") {
  for (const char* text :
       {"attention + 1 == 2", "chips / 0 == 1", "chips % 0.5 == 0", "attention < 3", "chips",
        "chips + 1", "not 3", "chips * 9223372036854775807 == 0", "chips in 256"}) {
    INFO(text);
    const Error error = refusal([&] { holds(text); });
    CHECK(error.kind() == ErrorKind::invalid_input);
    CHECK(error.diagnostics().front().where.line == 7);
  }
}

TEST_CASE("malformed conditions are refused", "[studies][expression]") {
  for (const char* text : {"", "chips ==", "== chips", "(chips == 1", "chips == 1)", "chips = 1",
                           "chips == 'flash", "chip == 256", "chips === 1", "import os", "1..2 < 3",
                           "chips == 1 == ", "[1, 2] == [1, 2"}) {
    INFO(text);
    CHECK(refusal([&] { holds(text); }).kind() == ErrorKind::invalid_input);
  }
  const Error misspelt = refusal([] { holds("chip == 256"); });
  CHECK(misspelt.diagnostics().front().hint.find("chips") != std::string::npos);
  // Nesting has a limit: the parser's own stack is not the user's to fill.
  CHECK(refusal([] { holds(std::string(100'000, '(') + "1"); }).kind() == ErrorKind::invalid_input);
}
