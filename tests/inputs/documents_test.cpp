// What YAML and JSON documents have in common, and what each refuses on its own.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <random>

#include "inputs/json.hpp"
#include "inputs/yaml.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

Node yaml(std::string text) { return parse_yaml({"f.yml", std::move(text)}); }
Node json(std::string text) { return parse_json({"f.json", std::move(text)}); }

Diagnostic yaml_fault(std::string text) {
  const Error error = refusal([&] { yaml(std::move(text)); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(error.diagnostics().front().where.file == "f.yml");
  return error.diagnostics().front();
}

Diagnostic json_fault(std::string text) {
  const Error error = refusal([&] { json(std::move(text)); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(error.diagnostics().front().where.file == "f.json");
  return error.diagnostics().front();
}

std::string at(const Location& where) { return fmt::format("{}:{}", where.line, where.column); }

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("the same document in both formats", "[documents]") {
  const Node from_yaml = yaml("a: 1\nb: [x, 'y', null, 2.50]\nc:\n  d: true\n  e: {}\n");
  const Node from_json =
      json(R"({"a": 1, "b": ["x", "y", null, 2.50], "c": {"d": true, "e": {}}})");
  CHECK(flow_text(from_yaml) == R"({a: 1, b: [x, "y", null, 2.50], c: {d: true, e: {}}})");
  CHECK(flow_text(from_json) == R"({a: 1, b: ["x", "y", null, 2.50], c: {d: true, e: {}}})");
  CHECK(from_yaml.find("a")->text == "1");
  CHECK(from_yaml.find("z") == nullptr);
}

TEST_CASE("every node knows its line and column", "[documents]") {
  SECTION("YAML") {
    const Node root = yaml("# comment\nalpha: 12\nbeta:\n  - x\n  -   'y'\n  - {gamma: [3]}\n");
    CHECK(at(root.members[0].where) == "2:1");
    CHECK(at(root.find("alpha")->where) == "2:8");
    CHECK(at(root.members[1].where) == "3:1");
    const Node& beta = *root.find("beta");
    CHECK(at(beta.items[0].where) == "4:5");
    CHECK(at(beta.items[1].where) == "5:7");
    CHECK(at(beta.items[2].members[0].where) == "6:6");
    CHECK(at(beta.items[2].find("gamma")->items[0].where) == "6:14");
  }
  SECTION("JSON") {
    const Node root = json(
        "\n{\n  \"alpha\": 12,\n  \"beta\" : [ \"x\\\"y\",true , {\"gamma\":[3,4]}\n],"
        "\"delta\": null}\n");
    CHECK(at(root.where) == "2:1");
    CHECK(at(root.members[0].where) == "3:3");
    CHECK(at(root.find("alpha")->where) == "3:12");
    CHECK(at(root.members[1].where) == "4:3");
    const Node& beta = *root.find("beta");
    CHECK(at(beta.where) == "4:12");
    CHECK(at(beta.items[0].where) == "4:14");
    CHECK(beta.items[0].text == "x\"y");
    CHECK(at(beta.items[1].where) == "4:21");
    CHECK(at(beta.items[2].where) == "4:28");
    CHECK(at(beta.items[2].members[0].where) == "4:29");
    CHECK(at(beta.items[2].find("gamma")->items[1].where) == "4:40");
    CHECK(at(root.members[2].where) == "5:3");
    CHECK(at(root.find("delta")->where) == "5:12");
  }
}

TEST_CASE("a quote that is not closed does not swallow the rest of the file", "[documents]") {
  const auto quote = GENERATE("'", "\"");
  const auto end = GENERATE("", "\n", "\n\n", "\nsteps: 1\n", " # comment\n");
  const Diagnostic fault = yaml_fault(fmt::format("a: 1\nrun_name: {}x{}", quote, end));
  CHECK_THAT(fault.what, Contains("is not valid YAML"));
  CHECK(fault.hint == "a quote is not closed");
  CHECK(fault.where.line >= 2);
}

TEST_CASE("block scalars end where they ended", "[documents]") {
  CHECK(yaml("a: |\n  x\n").find("a")->text == "x\n");
  CHECK(yaml("a: |+\n  x\n\n").find("a")->text == "x\n\n");
  CHECK(yaml("a: |-\n  x").find("a")->text == "x");
  CHECK(yaml("a: >\n  x\n  y\n").find("a")->text == "x y\n");
  CHECK(yaml("# nothing").kind == Node::Kind::null);
}

TEST_CASE("numbers keep their text", "[documents]") {
  const auto number = GENERATE("9007199254740993", "9223372036854775808", "18446744073709551616",
                               "-0", "-0.0", "0.10", "1e3", "1E+03", "-12",
                               "123456789012345678901234567890", "0.1000000000000000055511151231");
  CAPTURE(number);
  const Node from_yaml = yaml(fmt::format("a: {}\n", number));
  CHECK(from_yaml.find("a")->text == number);
  CHECK_FALSE(from_yaml.find("a")->quoted);
  const Node from_json = json(fmt::format("{{\"a\":{}}}", number));
  CHECK(from_json.find("a")->text == number);
  CHECK_FALSE(from_json.find("a")->quoted);
  CHECK(json(number).text == number);  // the number ends with the file
}

TEST_CASE("a number beyond a double", "[documents]") {
  CHECK(yaml("a: 1e400\n").find("a")->text == "1e400");
  const Diagnostic fault = json_fault("{\"a\": 1,\n \"b\": 1e400, \"c\": 2}");
  CHECK(fault.what == "the number '1e400' is out of range");
  CHECK(at(fault.where) == "2:7");
}

TEST_CASE("YAML scalars are text until somebody asks", "[documents]") {
  const Node root = yaml("a: 010\nb: 0x10\nc: .nan\nd: yes\ne: '3'\nf: \"\"\ng:\nh: ~\ni: 1_000\n");
  CHECK(root.find("a")->text == "010");
  CHECK(root.find("b")->text == "0x10");
  CHECK(root.find("c")->text == ".nan");
  CHECK(root.find("d")->text == "yes");
  CHECK((root.find("e")->text == "3" && root.find("e")->quoted));
  CHECK((root.find("f")->kind == Node::Kind::scalar && root.find("f")->quoted));
  CHECK(root.find("g")->kind == Node::Kind::null);
  CHECK(root.find("h")->kind == Node::Kind::null);
  CHECK(root.find("i")->text == "1_000");
}

TEST_CASE("an empty document", "[documents]") {
  const auto text = GENERATE("", "\n\n", "# only a comment\n", "---\n", "~\n");
  const Node root = yaml(text);
  CHECK(root.kind == Node::Kind::null);
  CHECK(root.where.file == "f.yml");
  CHECK_THAT(json_fault("").hint, Contains("truncated"));
}

TEST_CASE("truncated documents", "[documents]") {
  SECTION("JSON") {
    const std::string whole = R"({"a": [1, "x", {"b": true}], "c": null})";
    CHECK_NOTHROW(json(whole));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      CAPTURE(length);
      const Diagnostic fault = json_fault(whole.substr(0, length));
      CHECK(fault.where.line == 1);
      CHECK(fault.where.column == std::max<int>(static_cast<int>(length), 1));
    }
    CHECK_THAT(json_fault(R"({"a": [1)").hint, Contains("truncated"));
    CHECK_THAT(json_fault(R"({"a": "x)").hint, Contains("truncated"));
    CHECK(json_fault(R"({"a": 1}})").hint.empty());
  }
  SECTION("YAML in flow style") {
    const auto text = GENERATE("a: [1, 2", "a: {b: 1", "a: 'x", "a: \"x", "a: [1, {b: ", "{");
    CAPTURE(text);
    CHECK_THAT(yaml_fault(text).what, Contains("is not valid YAML"));
  }
}

TEST_CASE("malformed documents", "[documents]") {
  SECTION("JSON") {
    const auto text = GENERATE("{\"a\": 1,}", "[1,]", "{'a': 1}", "{a: 1}", "[1 2]", "[1] 2",
                               "{}{}", "NaN", "Infinity", "-", "01", "+1", ".5", "5.", "0x10",
                               "1_000", "// c\n1", "\"\\ud800\"", "\"\\x\"", "\"a\tb\"", "\"a\nb\"",
                               "tru", "]", "{\"a\"}", "{\"a\":}", "[,1]", "{1: 2}");
    CAPTURE(text);
    json_fault(text);
  }
  SECTION("JSON messages have no echo of the library") {
    const Diagnostic fault = json_fault("{\n  \"a\": 1,\n  b: 2}");
    CHECK(at(fault.where) == "3:3");
    CHECK_THAT(fault.what, Contains("is not valid JSON") && !Contains("json.exception") &&
                               !Contains("last read"));
    // nlohmann repeats the token that it could not read, however long.
    CHECK(json_fault("\"" + std::string(1'000'000, 'x')).what.size() < 200);
  }
  SECTION("YAML") {
    const auto text =
        GENERATE("a: b: c\n", "a: 1\n b: 2\n", "a: [1, 2}\n", "- 1\na: 2\n", "a: *x\n",
                 "a: \"\\q\"\n", "a: @x\n", "a: `x`\n", "%YAML 9.9.9\n---\na: 1\n");
    CAPTURE(text);
    yaml_fault(text);
  }
  SECTION("YAML messages have a place") {
    const Diagnostic fault = yaml_fault("a: 1\nb: [1, 2}\n");
    CHECK(fault.where.line == 2);
    CHECK_FALSE(fault.hint.empty());
  }
}

TEST_CASE("text that is not plain UTF-8 is refused in both formats", "[documents]") {
  const auto text =
      GENERATE(as<std::string>{}, "\xEF\xBB\xBF[1]", "[1,\r\n2]", "[1\r]", std::string("[1\0]", 4),
               "[\"\xC0\xAF\"]", "[\"\xED\xA0\x80\"]", "[\"\xFF\"]", "[\"\x1b\"]");
  yaml_fault(text);
  json_fault(text);
}

TEST_CASE("tabs do not indent YAML", "[documents]") {
  const Diagnostic fault = yaml_fault("a:\n  b: 1\n \tc: 2\n");
  CHECK(at(fault.where) == "3:2");
  CHECK_THAT(fault.what, Contains("tab"));
  CHECK(yaml("a: 1\t# comment\n").find("a")->text == "1");
  CHECK(json("{\n\t\"a\":\t1\n}").find("a")->text == "1");  // JSON may
}

TEST_CASE("nesting is limited while reading", "[documents]") {
  const auto depth = static_cast<std::size_t>(max_depth);
  SECTION("to max_depth, exactly") {
    const std::string deepest = repeated("[", depth) + repeated("]", depth);
    CHECK_NOTHROW(json(deepest));
    CHECK_NOTHROW(yaml(deepest));
    CHECK(at(json_fault("[" + deepest + "]").where) == "1:65");
    CHECK_THAT(yaml_fault("[" + deepest + "]").what, Contains("is nested deeper than 64 levels"));
  }
  SECTION("however deep the file is") {
    const auto layer = GENERATE("[", "{\"a\":", "[{\"a\":");
    CAPTURE(layer);
    CHECK_THAT(json_fault(repeated(layer, 100'000)).what, Contains("is nested deeper"));
  }
  SECTION("in YAML, in all of its ways to nest") {
    const auto layer = GENERATE("[", "{a: ", "- ", "? ", "[{a: ", "!!x [", "&a [");
    CAPTURE(layer);
    yaml_fault(repeated(layer, 100'000));
  }
  SECTION("in YAML by indentation") {
    std::string text;
    for (std::size_t level = 0; level < 2'000; ++level) text += std::string(level, ' ') + "a:\n";
    CHECK_THAT(yaml_fault(text).what, Contains("is nested deeper"));
  }
}

TEST_CASE("duplicate keys name both lines", "[documents]") {
  const Diagnostic in_yaml = yaml_fault("a:\n  x: 1\n  y: 2\n  x: 3\n");
  CHECK(in_yaml.what == "the key 'x' stands twice");
  CHECK(at(in_yaml.where) == "4:3");
  CHECK(in_yaml.hint == "it first stands at line 2");

  const Diagnostic in_json = json_fault("{\"a\": {\n\"x\": 1,\n\"y\": 2,\n  \"\\u0078\": 3}}");
  CHECK(in_json.what == "the key 'x' stands twice");
  CHECK(at(in_json.where) == "4:3");
  CHECK(in_json.hint == "it first stands at line 2");

  CHECK_NOTHROW(yaml("a: {x: 1}\nb: {x: 1}\n"));
  CHECK_NOTHROW(json(R"({"a": {"x": 1}, "b": {"x": 1}})"));
  yaml_fault("'a': 1\na: 2\n");
}

TEST_CASE("keys are names", "[documents]") {
  CHECK_THAT(yaml_fault("[a, b]: 1\n").what, Contains("a key must be a plain name"));
  CHECK_THAT(yaml_fault("{a: 1}: 1\n").what, Contains("a key must be a plain name"));
  yaml_fault("~: 1\n");
  yaml_fault(": 1\n");
}

TEST_CASE("merge keys, tags and several documents are refused", "[documents]") {
  const Diagnostic merge = yaml_fault("base: &b {x: 1}\nuse:\n  <<: *b\n");
  CHECK_THAT(merge.what, Contains("merge keys"));
  CHECK(at(merge.where) == "3:3");
  CHECK(yaml("'<<': 1\n").find("<<")->text == "1");

  CHECK_THAT(yaml_fault("a: !!python/object:os.system x\n").what, Contains("tag"));
  CHECK_THAT(yaml_fault("a: !!int 3\n").what, Contains("tag"));

  const Diagnostic second = yaml_fault("a: 1\n---\nb: 2\n");
  CHECK_THAT(second.what, Contains("more than one YAML document"));
  CHECK(second.where.line == 2);
  CHECK(yaml("---\na: 1\n...\n").find("a")->text == "1");
}

TEST_CASE("aliases are copies", "[documents]") {
  const Node root = yaml("a: &x [1, 2]\nb: *x\nc: {d: *x}\n");
  CHECK(flow_text(root) == "{a: [1, 2], b: [1, 2], c: {d: [1, 2]}}");
}

TEST_CASE("an alias of itself is refused", "[documents]") {
  const Diagnostic fault = yaml_fault("a: 1\nb: &x\n  c: [*x]\n");
  CHECK_THAT(fault.what, Contains("contains it"));
  CHECK(fault.where.line == 3);
  CHECK_THAT(fault.hint, Contains("line 3") || Contains("line 2"));
  yaml_fault("&x [*x]");
  yaml_fault("&x {a: *x}");
  yaml_fault("&x a: *x\nb: &x [*x]\n");
}

TEST_CASE("documents that multiply are stopped by the budget", "[documents]") {
  SECTION("an alias bomb") {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int level = 1; level < 12; ++level) {
      bomb += fmt::format("a{0}: &a{0} [{1}*a{2}]\n", level,
                          repeated(fmt::format("*a{}, ", level - 1), 8), level - 1);
    }
    CHECK_THAT(yaml_fault(bomb).what, Contains("has more than 200000 values"));
  }
  SECTION("an alias of a long text") {
    const std::string text(1'000'000, 'x');
    yaml_fault("a: &a " + text + "\nb: [" + repeated("*a, ", 1000) + "]\n");
    yaml_fault("a: &a {" + text + ": 1}\nb: [" + repeated("*a, ", 1000) + "]\n");
  }
  SECTION("anchors inside anchors, each of which is kept") {
    std::string text;
    for (int level = 0; level < 60; ++level) text += fmt::format("&a{} [", level);
    yaml_fault(text + repeated("x, ", 150'000) + repeated("]", 60));
  }
  SECTION("plain length") {
    CHECK_NOTHROW(json("[" + repeated("1,", 150'000) + "1]"));
    CHECK_NOTHROW(yaml("[" + repeated("1,", 150'000) + "1]"));
    CHECK_THAT(json_fault("[" + repeated("1,", 250'000) + "1]").what, Contains("has more than"));
    CHECK_THAT(yaml_fault("[" + repeated("1,", 250'000) + "1]").what, Contains("has more than"));
  }
}

TEST_CASE("large documents take no more than linear time", "[documents]") {
  std::string as_yaml;
  std::string as_json = "{";
  for (int i = 0; i < 90'000; ++i) {
    as_yaml += fmt::format("key{}: {}\n", i, i);
    as_json += fmt::format("{}\n\"key{}\": {}", i == 0 ? "" : ",", i, i);
  }
  CHECK(yaml(as_yaml).members.size() == 90'000);
  const Node root = json(as_json + "}");
  CHECK(root.members.size() == 90'000);
  CHECK(at(root.members.back().where) == "90001:1");
}

TEST_CASE("whatever the text, there is a tree or an Error", "[documents]") {
  const std::vector<std::string> seeds{
      R"({"a": [1, -2.5e3, "x\u0041"], "b": {"c": null, "d": true}})",
      "a: &x {b: [1, 'two', \"three\"], c: |\n  text\n  more\n}\nd: *x\n? e\n: f\n- g\n",
      "%YAML 1.2\n---\n- a: 1\n  b: >-\n    folded\n- !!str c\n- [*x, &y z]\n...\n"};
  std::mt19937 random(8);
  const std::string alphabet = "{}[]:,-?!&*#|>@`\"'%~<= \n\t\\/+.0123456789eaxuntrl\x80\xC3";
  for (int round = 0; round < 6'000; ++round) {
    std::string text = seeds[random() % seeds.size()];
    for (std::size_t edits = random() % 8; edits-- > 0;) {
      const std::size_t where = random() % text.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0: text[where] = c; break;
        case 1: text.insert(where, 1, c); break;
        default: text.erase(where, 1 + random() % 3);
      }
      if (text.empty()) text = " ";
    }
    CAPTURE(text);
    for (const auto parse : {parse_yaml, parse_json}) {
      try {
        parse({"f", text});
      } catch (const Error& error) {
        if (error.diagnostics().front().where.line < 1) FAIL("an error without a line");
      }
    }
  }
}
