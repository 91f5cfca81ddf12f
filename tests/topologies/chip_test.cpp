#include "topologies/chip.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

// MXUs x side^2 multiply-adds per cycle, 2 FLOP each.
double peak_from_mxus(const Chip& chip) {
  const double side = static_cast<double>(chip.mxu_size.value);
  const auto mxus = static_cast<double>(chip.tensor_cores.value * chip.mxus_per_core.value);
  return mxus * side * side * 2 * chip.clock_hz->value;
}

// Fails on a constant without a source.
struct SourceCheck {
  template <class T>
  void operator()(std::string_view key, const Sourced<T>& constant) const {
    INFO(key);
    CHECK_FALSE(constant.source.empty());
  }
  template <class T>
  void operator()(std::string_view key, const std::optional<Sourced<T>>& constant) const {
    if (constant) (*this)(key, *constant);
  }
};

const std::string minimal_chip = R"(
name: t1
as_of: 2026-08
torus_rank: {value: 3, source: s}
wraparound: {value: cube multiples, source: s}
host_shape: {value: [2, 2, 1], source: s}
devices_per_chip: {value: 1, source: s}
tensor_cores: {value: 2, source: s}
mxus_per_core: {value: 4, source: s}
mxu_size: {value: 128, source: s}
peak_bf16: {value: 459 TFLOP/s, source: s}
vmem: {value: 128 MiB, source: s}
hbm_physical: {value: 96 GiB, source: s}
hbm_bandwidth: {value: 2765 GB/s, source: s}
ici_hop_latency: {value: 1 us, source: s}
)";

}  // namespace

TEST_CASE("v5p has the published figures", "[chip]") {
  const Chip& chip = find_chip("v5p");
  CHECK(chip.peak_bf16.value.value() == 459e12);
  CHECK(chip.peak_int8->value.value() == 918e12);
  CHECK(chip.hbm_usable->value.value() == static_cast<std::int64_t>(95.74 * 0x1p30));
  CHECK(chip.hbm_physical.value.value() == 96 * (std::int64_t{1} << 30));
  CHECK(chip.vmem.value.value() == 2 * 64 * (std::int64_t{1} << 20));  // 64 MiB per core
  CHECK(chip.hbm_bandwidth.value.value() == 2765e9);
  CHECK(chip.ici_links->value == 6);
  CHECK(chip.ici_link_bandwidth->value.value() == 90e9);
  CHECK(chip.ici_link_bandwidth->note.find("100 GB/s") != std::string::npos);
  CHECK(chip.ici_hop_latency.value.value() == 1'000'000);
  CHECK(chip.host_memory->value.value() == 448'000'000'000);
  CHECK(chips_per_host(chip) == 4);
  // 50 Gbps per chip / 8 bits x 4 chips
  CHECK(dcn_bandwidth_per_host(chip)->value() == Approx(25e9));
}

TEST_CASE("peak bf16 follows from MXUs and clock where a source states the clock", "[chip]") {
  for (const char* name : {"v5p", "v4"}) {
    INFO(name);
    const Chip& chip = find_chip(name);
    // The clocks are published with three digits: 1.75 and 1.05 GHz.
    CHECK(peak_from_mxus(chip) == Approx(chip.peak_bf16.value.value()).epsilon(0.002));
  }
  // v6e's would be 3.5 GHz with one step of its MXUs a cycle.
  CHECK(peak_from_mxus(find_chip("v6e")) ==
        Approx(find_chip("v6e").peak_bf16.value.value() / 2).epsilon(0.002));
  CHECK_FALSE(find_chip("v5e").clock_hz.has_value());
}

TEST_CASE("the link bandwidth is 0.9 of what the chip's total gives", "[chip]") {
  for (const char* name : {"v5p", "v5e", "v6e"}) {
    INFO(name);
    const Chip& chip = find_chip(name);
    const double from_total =
        chip.ici_chip_bandwidth->value.value() / static_cast<double>(2 * chip.ici_links->value);
    CHECK(chip.ici_link_bandwidth->value.value() == Approx(0.9 * from_total));
    CHECK(chip.ici_links->value == 2 * chip.torus_rank.value);
  }
}

TEST_CASE("usable memory is less than physical memory, and by less than a tenth", "[chip]") {
  for (const std::string& name : chip_names()) {
    const Chip& chip = find_chip(name);
    if (!chip.hbm_usable) continue;
    INFO(name);
    CHECK(chip.hbm_usable->value < chip.hbm_physical.value);
    CHECK(chip.hbm_usable->value / chip.hbm_physical.value > 0.9);
  }
}

TEST_CASE("figures that no source states are absent", "[chip]") {
  const Chip& ironwood = find_chip("tpu7x");
  CHECK_FALSE(ironwood.hbm_usable.has_value());
  CHECK_FALSE(ironwood.ici_links.has_value());
  CHECK_FALSE(ironwood.ici_link_bandwidth.has_value());
  CHECK_FALSE(ironwood.peak_int8.has_value());
  CHECK_FALSE(find_chip("v4").peak_fp8.has_value());
  CHECK_FALSE(dcn_bandwidth_per_host(find_chip("v4")).has_value());
  CHECK_FALSE(find_chip("v5e").sparse_cores.has_value());
}

TEST_CASE("a device is half a chip on tpu7x and a whole one elsewhere", "[chip]") {
  const Chip& ironwood = find_chip("v7x");
  CHECK(ironwood.name == "tpu7x");
  CHECK(per_device(ironwood, ironwood.peak_bf16.value).value() == 2307e12 / 2);
  CHECK(per_device(ironwood, Bytes(7)).value() == 3);
  CHECK(per_device(ironwood, ironwood.hbm_bandwidth.value).value() == 7380e9 / 2);
  CHECK(tensor_cores_per_device(ironwood) == 1);
  const Chip& v5p = find_chip("v5p");
  CHECK(per_device(v5p, v5p.peak_bf16.value) == v5p.peak_bf16.value);
  CHECK(tensor_cores_per_device(v5p) == 2);
}

TEST_CASE("every constant has a source, and every chip a date", "[chip]") {
  CHECK(chip_names() == std::vector<std::string>{"tpu7x", "v4", "v5e", "v5p", "v6e"});
  for (const std::string& name : chip_names()) {
    INFO(name);
    CHECK(find_chip(name).as_of == "2026-08");
    visit_constants(find_chip(name), SourceCheck{});
  }
}

TEST_CASE("an unknown chip is refused with the nearest names", "[chip]") {
  const Error error = refusal([] { find_chip("v5pp"); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  CHECK(std::string(error.what()).find("v5p") != std::string::npos);
  CHECK(std::string(refusal([] { find_chip("gpu"); }).what()).find("v6e") != std::string::npos);
  CHECK_THROWS_AS(find_chip("V5P"), Error);
  CHECK_THROWS_AS(find_chip(""), Error);
}

TEST_CASE("a chip file is read strictly", "[chip]") {
  CHECK(parse_chip("t.yml", minimal_chip).host_shape.value == std::vector<std::int64_t>{2, 2, 1});
  const auto message = [](const std::string& text) {
    return std::string(refusal([&] { parse_chip("t.yml", text); }).what());
  };
  CHECK(message(minimal_chip + "hbm: 3\n").find("hbm") != std::string::npos);
  CHECK(message(minimal_chip + "peak_fp8: {value: 1 TFLOP/s}\n").find("peak_fp8.source") !=
        std::string::npos);
  CHECK(message(minimal_chip + "dcn_bandwidth: {value: 25, source: s}\n").find("dcn_bandwidth") !=
        std::string::npos);
  CHECK(message(minimal_chip + "aliases: x\n").find("aliases") != std::string::npos);
  // Without its last line a required constant is missing.
  const std::string cut = minimal_chip.substr(0, minimal_chip.find("ici_hop_latency"));
  CHECK(message(cut).find("ici_hop_latency") != std::string::npos);
}
