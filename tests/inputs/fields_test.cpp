#include "inputs/fields.hpp"

#include <catch2/catch.hpp>

#include "inputs/json.hpp"
#include "inputs/yaml.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

Node chip_yaml(std::string text) { return parse_yaml({"chip.yml", std::move(text)}); }

// The messages of all faults that `read` finds in the document.
template <class Read>
std::vector<std::string> faults_of(const Node& node, Read read) {
  Diagnostics faults;
  Fields fields(node, "chip", faults);
  read(fields);
  if (faults.empty()) return {};
  std::vector<std::string> messages;
  const Error error = refusal([&] { faults.throw_if_any(); });
  for (const Diagnostic& fault : error.diagnostics()) messages.push_back(to_string(fault));
  return messages;
}

using Messages = std::vector<std::string>;

}  // namespace

TEST_CASE("values of every type", "[fields]") {
  const Node node = chip_yaml(
      "name: v5p\ncores: 2\nefficiency: 0.9\nmegacore: true\nshape: [4, 8, 8]\nhbm: 95 GiB\n"
      "ici: 90 GB/s\npeak: 459 TFLOP/s\nhop: 1 us\nkind: torus\nnested: {x: 1}\n");
  Diagnostics faults;
  Fields fields(node, "", faults);
  CHECK(fields.text("name") == "v5p");
  CHECK(fields.integer("cores", {1, 16}) == 2);
  CHECK(fields.real("efficiency") == 0.9);
  CHECK(fields.boolean("megacore"));
  CHECK(fields.integers("shape") == std::vector<std::int64_t>{4, 8, 8});
  CHECK(fields.bytes("hbm") == 95 * gib);
  CHECK(fields.bandwidth("ici") == BytesPerSecond(90e9));
  CHECK(fields.flop_rate("peak") == FlopsPerSecond(459e12));
  CHECK(fields.duration("hop") == Picoseconds(1'000'000));
  CHECK(fields.choice("kind", std::vector<std::string>{"mesh", "torus"}) == "torus");
  CHECK(fields.node("nested")->find("x")->text == "1");
  CHECK(fields.has("name"));
  CHECK_FALSE(fields.has("nome"));
  fields.finish();
  CHECK(faults.empty());
}

TEST_CASE("all faults of one file are reported at once", "[fields]") {
  const Node node =
      chip_yaml("cores: 0\nhbm: 95\nefficency: 0.9\nshape: [4, x, 9007199254740993]\n");
  const auto messages = faults_of(node, [](Fields& fields) {
    fields.integer("cores", {1, 16});
    fields.bytes("hbm");
    fields.real("efficiency");
    fields.integers("shape");
    fields.finish();
  });
  CHECK(
      messages ==
      Messages{"chip.yml:1:8: error: chip.cores: must be at least 1 (got 0)",
               "chip.yml:2:6: error: chip.hbm: is not a quantity (got '95', want a number and one "
               "of: B kB MB GB TB KiB MiB GiB TiB)",
               "chip.yml:1:1: error: chip.efficiency: is missing",
               "chip.yml:4:12: error: chip.shape: holds what is not an integer (got 'x', want "
               "decimal digits)",
               "chip.yml:4:15: error: chip.shape: holds what is beyond +-2^53 (got "
               "'9007199254740993')",
               "chip.yml:3:1: error: chip.efficency: is not a known key\n"
               "  hint: did you mean efficiency?"});
}

TEST_CASE("an unknown key is an error that names the nearest known ones", "[fields]") {
  const Node node = chip_yaml("core: 2\ncores: 2\n");
  const auto messages = faults_of(node, [](Fields& fields) {
    fields.integer("cores");
    if (fields.has("score")) fields.integer("score");  // optional, and known all the same
    fields.ignore("comment");
    fields.finish();
  });
  CHECK(messages == Messages{"chip.yml:1:1: error: chip.core: is not a known key\n"
                             "  hint: did you mean cores or score?"});
}

TEST_CASE("a key that was only looked for is still unknown", "[fields]") {
  const auto messages = faults_of(chip_yaml("cores: 2\n"), [](Fields& fields) {
    CHECK(fields.has("cores"));
    fields.finish();
  });
  CHECK(messages.size() == 1);
}

TEST_CASE("twenty faults are shown and the others counted", "[fields]") {
  std::string text;
  for (int i = 0; i < 25; ++i) text += "key" + std::to_string(i) + ": 1\n";
  const auto messages = faults_of(chip_yaml(text), [](Fields& fields) { fields.finish(); });
  CHECK(messages.size() == 21);
  CHECK(messages.back() == "error: 5 more errors are not shown");
}

TEST_CASE("values of the wrong type", "[fields]") {
  const auto fault = [](const std::string& value, auto getter) {
    const Node node = chip_yaml("k: " + value + "\n");
    const auto messages = faults_of(node, getter);
    REQUIRE(messages.size() == 1);
    return messages.front();
  };
  const auto integer = [](Fields& fields) { fields.integer("k", {0, 10}); };
  CHECK_THAT(fault("'3'", integer), Contains("must be an integer (got the text '3')"));
  CHECK_THAT(fault("3.0", integer), Contains("is not an integer"));
  CHECK_THAT(fault("true", integer), Contains("is not an integer"));
  CHECK_THAT(fault("010", integer), Contains("is not an integer"));
  CHECK_THAT(fault("11", integer), Contains("must be at most 10 (got 11)"));
  CHECK_THAT(fault("-1", integer), Contains("must be at least 0 (got -1)"));
  CHECK_THAT(fault("", integer), Contains("must be a single value (got nothing)"));
  CHECK_THAT(fault("[3]", integer), Contains("must be a single value (got a list)"));
  CHECK_THAT(fault("{a: 3}", integer), Contains("must be a single value (got a mapping)"));

  const auto real = [](Fields& fields) { fields.real("k"); };
  CHECK_THAT(fault("'3.5'", real), Contains("must be a number (got the text '3.5')"));
  CHECK_THAT(fault(".nan", real), Contains("is not a number"));
  CHECK_THAT(fault("1e400", real), Contains("is out of range"));

  const auto boolean = [](Fields& fields) { fields.boolean("k"); };
  CHECK_THAT(fault("'true'", boolean), Contains("must be true or false"));
  CHECK_THAT(fault("yes", boolean), Contains("is not a boolean"));
  CHECK_THAT(fault("1", boolean), Contains("is not a boolean"));

  const auto integers = [](Fields& fields) { fields.integers("k"); };
  CHECK_THAT(fault("3", integers), Contains("must be a list of integers (got '3')"));
  CHECK_THAT(fault("[1, '2']", integers), Contains("must hold integers only (got '2')"));
  CHECK_THAT(fault("[1, [2]]", integers), Contains("must hold integers only (got a list)"));

  const auto choice = [](Fields& fields) {
    fields.choice("k", std::vector<std::string>{"mesh", "torus"});
  };
  CHECK_THAT(fault("tours", choice), Contains("must be one of mesh, torus (got 'tours')") &&
                                         Contains("did you mean torus?"));

  CHECK_THAT(fault("90 GB", [](Fields& fields) { fields.bandwidth("k"); }),
             Contains("is not a quantity"));
  CHECK_THAT(fault("-1 us", [](Fields& fields) { fields.duration("k"); }),
             Contains("must not be negative"));
  CHECK_THAT(fault("[x]", [](Fields& fields) { fields.text("k"); }), Contains("(got a list)"));
}

TEST_CASE("after a fault a getter returns a value within the range", "[fields]") {
  Diagnostics faults;
  const Node node = chip_yaml("k: x\n");
  Fields fields(node, "", faults);
  CHECK(fields.integer("k") == 1);
  CHECK(fields.integer("k", {8, 16}) == 8);
  CHECK(fields.integer("k", {-8, -2}) == -2);
  CHECK(fields.real("k") == 0.0);
  CHECK(fields.bytes("k") == Bytes(0));
  CHECK(fields.integers("k").empty());
  CHECK(fields.text("missing").empty());
  CHECK(fields.node("missing") == nullptr);
}

TEST_CASE("a document that is no mapping is one fault, not many", "[fields]") {
  const auto text = GENERATE("", "[1, 2]\n", "just text\n");
  const auto messages = faults_of(chip_yaml(text), [](Fields& fields) {
    fields.integer("cores");
    fields.text("name");
    fields.finish();
  });
  REQUIRE(messages.size() == 1);
  CHECK_THAT(messages.front(), Contains("chip.yml:1:1: error: chip: must be a mapping"));
}

TEST_CASE("JSON quantities stand in quotes", "[fields]") {
  const Node node = parse_json({"chip.json", R"({"hbm": "95 GiB", "cores": 2})"});
  Diagnostics faults;
  Fields fields(node, "", faults);
  CHECK(fields.bytes("hbm") == 95 * gib);
  CHECK(fields.integer("cores") == 2);
  CHECK(faults.empty());
}

TEST_CASE("keys with escapes cannot steer a terminal", "[fields]") {
  const Node node = parse_json({"chip.json", R"({"\u001b[2Jx": 1})"});
  const auto messages = faults_of(node, [](Fields& fields) { fields.finish(); });
  REQUIRE(messages.size() == 1);
  CHECK_THAT(messages.front(), Contains("chip.\\x1b[2Jx: is not a known key"));
}
