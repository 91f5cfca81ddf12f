#include "topologies/slice.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "tests/refusal.hpp"
#include "topologies/slice_table.hpp"

using namespace meshsim;

namespace {

using Shape = std::vector<std::int64_t>;

std::string family_of(const Slice& slice) { return slice.name.substr(0, slice.name.find('-')); }

std::int64_t number_of(const Slice& slice) {
  return std::stoll(slice.name.substr(slice.name.find('-') + 1));
}

std::string message_for(const std::string& name) {
  return refusal([&] { slice_by_name(name); }).what();
}

bool offers(const std::string& message, const std::string& first, const std::string& second) {
  return message.find("did you mean " + first + " or " + second + "?") != std::string::npos;
}

}  // namespace

TEST_CASE("v5p-512 is 4x8x8 chips", "[slice]") {
  const Slice slice = slice_by_name("v5p-512");
  CHECK(slice.shape == Shape{4, 8, 8});
  CHECK(slice.chips() == 4 * 8 * 8);
  CHECK(slice.devices() == 256);           // megacore: one device per chip
  CHECK(slice.tensor_cores() == 2 * 256);  // the number in its name
  CHECK(slice.hosts() == 256 / 4);
  CHECK(slice.wraparound == std::vector<bool>{true, true, true});
}

TEST_CASE("every named slice agrees with its name and its chip's rules", "[slice]") {
  CHECK(named_slices().size() == 223);
  for (const Slice& slice : named_slices()) {
    INFO(slice.name);
    CHECK(slice.chip->name == family_of(slice));
    CHECK(static_cast<std::int64_t>(slice.shape.size()) == slice.chip->torus_rank.value);
    // N counts TensorCores on v4 and v5p; on v5e, v6e and tpu7x devices, each with one TensorCore.
    CHECK(slice.tensor_cores() == number_of(slice));
    CHECK(slice.wraparound == wraparound_of(slice.chip->wraparound.value, slice.shape));
    CHECK(slice.hosts() == std::max<std::int64_t>(1, slice.chips() / 4));
    CHECK(slice_by_name(slice.name).shape == slice.shape);
    const Slice by_shape = slice_by_shape(*slice.chip, slice.shape);
    CHECK(by_shape.name == slice.name);
    CHECK(by_shape.hosts() == slice.hosts());
  }
}

TEST_CASE("wraparound: whole cubes on 3D chips, axes of 16 on flat ones", "[slice]") {
  const auto cubes = [](Shape shape) {
    return wraparound_of(WraparoundRule::cube_multiples, shape);
  };
  CHECK(cubes({4, 4, 4}) == std::vector<bool>{true, true, true});
  CHECK(cubes({2, 4, 4}) == std::vector<bool>{false, false, false});
  CHECK(cubes({4, 8, 6}) == std::vector<bool>{false, false, false});
  CHECK(cubes({16, 16, 1}) == std::vector<bool>{false, false, false});
  const auto flat = [](Shape shape) { return wraparound_of(WraparoundRule::axes_of_16, shape); };
  CHECK(flat({8, 16}) == std::vector<bool>{false, true});
  CHECK(flat({16, 32}) == std::vector<bool>{true, false});
}

TEST_CASE("any shape makes a slice", "[slice]") {
  const Chip& v5p = find_chip("v5p");
  const Slice free = slice_by_shape(v5p, Shape{8, 4, 8});
  CHECK(free.name == "8x4x8");  // v5p-512 is 4x8x8: another torus for the mesh assignment
  CHECK(free.wraparound == std::vector<bool>{true, true, true});
  CHECK(free.hosts() == 4 * 2 * 8);
  CHECK(slice_by_shape(v5p, Shape{4, 4}).shape == Shape{4, 4, 1});
  CHECK(slice_by_shape(v5p, Shape{2, 2}).name == "v5p-8");
  // Hosts are boxes of 2x2x1: a line of 5 touches ceil(5/2) of them.
  CHECK(slice_by_shape(v5p, Shape{5}).hosts() == 3);
  const Chip& v6e = find_chip("v6e");
  CHECK(slice_by_shape(v6e, Shape{16, 16, 1}).name == "v6e-256");
  CHECK(slice_by_shape(v6e, Shape{6}).shape == Shape{6, 1});
}

TEST_CASE("an unknown slice is refused with the nearest two", "[slice]") {
  CHECK(refusal([] { slice_by_name("v5p-500"); }).kind() == ErrorKind::invalid_input);
  CHECK(offers(message_for("v5p-500"), "v5p-512", "v5p-384"));  // off by 12 and 116
  CHECK(offers(message_for("v5p-1000000"), "v5p-17920", "v5p-13824"));
  CHECK(offers(message_for("v5p"), "v5p-8", "v5p-16"));
  CHECK(offers(message_for("v5p-"), "v5p-8", "v5p-16"));
  CHECK(offers(message_for("4x8"), "v6e-32", "v5e-32"));       // the slices of that shape
  CHECK(offers(message_for("v5q-512"), "v5p-512", "v4-512"));  // spelling: 1 and 2 edits
  CHECK(message_for("").find("v5p-512") != std::string::npos);
  CHECK(message_for(std::string(500, 'x')).size() < 300);
  CHECK(message_for("v5p-\x1b[31m").find('\x1b') == std::string::npos);
}

TEST_CASE("v7x is another name of tpu7x, whose chips hold two devices", "[slice]") {
  const Slice slice = slice_by_name("v7x-128");
  CHECK(slice.name == "tpu7x-128");
  CHECK(slice.chips() == 4 * 4 * 4);
  CHECK(slice.devices() == 128);
  CHECK(device_mesh_shape(slice) == Shape{4, 4, 4, 2});
  CHECK(assumptions(make_topology(slice, 1)).size() == 1);
  CHECK(device_mesh_shape(slice_by_name("v5p-8")) == Shape{2, 2, 1});
  CHECK(assumptions(make_topology(slice_by_name("v5p-8"), 1)).empty());
}

TEST_CASE("impossible shapes are refused", "[slice]") {
  const Chip& v5p = find_chip("v5p");
  for (const Shape& shape :
       {Shape{}, Shape{0}, Shape{4, -4, 4}, Shape{4, 4, 4, 4}, Shape{std::int64_t{1} << 21},
        Shape{std::int64_t{1} << 40, std::int64_t{1} << 40, 1}}) {
    INFO(shape_text(shape));
    CHECK(refusal([&] { slice_by_shape(v5p, shape); }).kind() == ErrorKind::invalid_input);
  }
  CHECK_THROWS_AS(slice_by_shape(find_chip("v6e"), Shape{4, 4, 4}), Error);
  CHECK(slice_by_shape(v5p, Shape{1 << 20}).chips() == max_chips);
}

TEST_CASE("a topology multiplies its slice", "[slice]") {
  const Topology topology = make_topology(slice_by_name("v5p-128"), 3);
  CHECK(topology.chips() == 3 * 64);
  CHECK(topology.devices() == 3 * 64);
  CHECK(topology.tensor_cores() == 3 * 128);
  CHECK(topology.hosts() == 3 * 16);
  CHECK(not_modelled(topology).front().find("twisted") != std::string::npos);
  CHECK(not_modelled(make_topology(slice_by_name("v6e-256"), 1)).empty());
  CHECK_THROWS_AS(make_topology(slice_by_name("v5p-8"), 0), Error);
  CHECK_THROWS_AS(make_topology(slice_by_name("v5p-8"), max_slices + 1), Error);
}

TEST_CASE("the slice table is read strictly", "[slice]") {
  const auto table = [](const std::string& row) {
    return parse_slices("t.json",
                        R"({"schema": "tpu-slices/1", "slices": {"v5p-16": )" + row + "}}");
  };
  const std::string flags = R"("megacore": true, "wraparound": [false, false, false])";
  CHECK(table(R"({"shape": [2, 2, 2], "devices": 8, "chips_per_host": [2, 2, 1], )" + flags + "}")
            .front()
            .chips() == 8);
  CHECK_THROWS_AS(
      table(R"({"shape": [2, 2, 2], "devices": 9, "chips_per_host": [2, 2, 1], )" + flags + "}"),
      Error);
  CHECK_THROWS_AS(table(R"({"shape": [2, 2, 2], "devices": 8, )" + flags + "}"), Error);
  CHECK_THROWS_AS(
      table(R"({"shape": [2, 2, 2], "devices": 8, "chips_per_host": [2, 2, 1], "x": 1, )" + flags +
            "}"),
      Error);
}
