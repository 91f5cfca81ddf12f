#include "reports/topology_report.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "tests/refusal.hpp"

using namespace meshsim;
using Json = nlohmann::ordered_json;

namespace {

using Sizes = std::vector<std::int64_t>;

TopologyView view_of(const char* name, const Sizes& logical, bool split) {
  const Slice slice = slice_by_name(name);
  return {make_topology(slice, 1), assign_mesh(device_mesh_shape(slice), logical, split), {}};
}

Json constant(const Json& report, const std::string& name) {
  for (const Json& entry : report.at("constants")) {
    if (entry.at("name") == name) return entry;
  }
  FAIL("no constant " << name);
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the headline counts chips, TensorCores and hosts", "[topology_report]") {
  const auto headline = [](const char* name, std::int64_t slices) {
    return topology_headline(make_topology(slice_by_name(name), slices));
  };
  CHECK(headline("v5p-512", 1) == "v5p-512: 256 chips (512 TensorCores), 4x8x8 torus, 64 hosts");
  CHECK(headline("v5p-8", 1) ==
        "v5p-8: 4 chips (8 TensorCores), 2x2x1 mesh (no wraparound), 1 host");
  CHECK(headline("v6e-128", 1) ==
        "v6e-128: 128 chips (128 TensorCores), 8x16 mesh with rings along axis 1, 32 hosts");
  CHECK(headline("v5p-128", 2) ==
        "2 x v5p-128: 128 chips (256 TensorCores), 4x4x4 torus each, 32 hosts");
}

TEST_CASE("the JSON names the slice and the sources of its chip", "[topology_report]") {
  const Json report = topology_json({make_topology(slice_by_name("v5p-512"), 1), {}, {}});
  CHECK(report.at("$schema") == "https://meshsim.dev/schema/topology/1");
  CHECK(report.at("format_version") == "1.0");
  CHECK(report.at("name") == "v5p-512");
  CHECK(report.at("chip") == "v5p");
  CHECK(report.at("chips") == 256);
  CHECK(report.at("devices") == 256);
  CHECK(report.at("tensor_cores") == 512);
  CHECK(report.at("shape") == Json({4, 8, 8}));
  CHECK(report.at("wraparound") == Json({true, true, true}));
  CHECK(report.at("hosts") == 64);
  CHECK(report.at("slices") == 1);
  CHECK_FALSE(report.contains("logical"));
  CHECK(constant(report, "hbm_usable_bytes").at("value") == 102'800'042'229);
  CHECK(constant(report, "peak_bf16_flops_per_s").at("value").dump() == "459000000000000");
  CHECK(constant(report, "ici_hop_latency_ps").at("value") == 1'000'000);
  CHECK(constant(report, "wraparound").at("value") == "cube multiples");
  CHECK(has(constant(report, "ici_link_bandwidth_bytes_per_s").at("note"), "100 GB/s"));
  for (const Json& entry : report.at("constants")) CHECK_FALSE(entry.at("source") == "");
  CHECK(report.at("not_published").empty());
  CHECK(has(report.at("not_modelled").at(0), "twisted"));
}

TEST_CASE("what is not published is said, not invented", "[topology_report]") {
  const TopologyView view{make_topology(slice_by_name("tpu7x-128"), 1), {}, {}};
  const Json report = topology_json(view);
  const auto missing = report.at("not_published").get<std::set<std::string>>();
  CHECK(missing.contains("hbm_usable"));
  CHECK(missing.contains("ici_link_bandwidth"));
  CHECK(has(report.at("assumptions").at(0), "last physical axis"));
  CHECK(has(topology_table(view), "hbm_usable           not published\n"));
}

TEST_CASE("a logical mesh adds assignment, device order and footprints", "[topology_report]") {
  const Json report = topology_json(view_of("v5p-512", {1, 32, 8}, false));
  CHECK(report.at("logical") == Json({1, 32, 8}));
  CHECK(report.at("allow_split_physical_axes") == false);
  CHECK(report.at("assignment") == Json({{1, 4, 1}, {1, 1, 8}, {1, 8, 1}}));
  CHECK(report.at("device_order").size() == 256);
  // The inner logical axis walks physical axis 1, whose neighbours are 8 devices apart.
  CHECK(report.at("device_order").at(1) == 8);
  const Json& axis = report.at("axes").at(2);
  CHECK(axis.at("logical_axis") == 2);
  CHECK(axis.at("size") == 8);
  CHECK(axis.at("physical") ==
        Json::array({{{"axis", 1}, {"part", 8}, {"stride", 1}, {"wraparound", true}}}));
  CHECK(axis.at("links") == 256 * 2);
}

TEST_CASE("several slices give one device order over all of them", "[topology_report]") {
  TopologyView view = view_of("v5p-128", {1, 16, 4}, false);
  view.topology.slices = 2;
  CHECK_THROWS_AS(topology_json(view), Error);  // which axis crosses DCN is not said
  view.dcn_degrees = {2, 1, 1};
  const Json report = topology_json(view);
  CHECK(report.at("devices") == 128);
  CHECK(report.at("dcn_logical") == Json({2, 1, 1}));
  CHECK(report.at("device_order").size() == 128);
  CHECK(report.at("device_order").at(64) == 64);
  CHECK(has(topology_table(view), "2,1,1 over DCN"));
  view.dcn_degrees = {3, 1, 1};
  CHECK_THROWS_AS(topology_table(view), Error);
}

TEST_CASE("a mesh of another slice is refused", "[topology_report]") {
  TopologyView view = view_of("v5p-128", {1, 16, 4}, false);
  view.topology.slice = slice_by_name("v5p-256");
  CHECK(refusal([&] { topology_json(view); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("the table begins with the headline and shows each axis", "[topology_report]") {
  const std::string table = topology_table(view_of("v5p-512", {2, 16, 8}, true));
  CHECK(table.rfind("v5p-512: 256 chips (512 TensorCores), 4x8x8 torus, 64 hosts\n", 0) == 0);
  CHECK(has(table, "8 of axis 1 (ring)"));
  CHECK(has(table, "459 TFLOP/s"));
  CHECK(has(table, "not modelled: twisted tori"));
  CHECK_FALSE(has(table, " \n"));
}
