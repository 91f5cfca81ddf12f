#include "sim/network/flow_file.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "sim/network/network_run.hpp"
#include "tests/golden.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

FlowFile parsed(const std::string& text) { return parse_flow_file({"flows.json", text}); }

std::string file_with(const std::string& flow, const std::string& head = {}) {
  return R"~({"schema": "flow-crosscheck/1", "torus": [4, 4, 4], "node_id": "x + X*(y + Y*z)",
"link_bytes_per_s": 9e10, "latency_s": 1e-6)~" +
         head + ", \"flows\": [\n" + flow + "]}";
}

std::string complaint(const std::string& text) {
  const Error error = refusal([&] { parsed(text); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

}  // namespace

TEST_CASE("flow files that another simulator solved: every finish time within 1e-6",
          "[flow_file]") {
  // SimGrid 3.32 at precision 1e-15.
  const std::string file =
      GENERATE("a2a-skewed-4x4x4", "incast-4x4x8", "random-4x4x4", "two-a2a-4x4x4");
  const std::string path = std::string(MESHSIM_TEST_DATA) + "/flows/" + file + ".json";
  const nlohmann::json answers = testing::golden("flows/" + file + ".json");
  const NetworkRun result = run_flow_file(parse_flow_file(read_source(path)));
  double worst = 0;
  REQUIRE(result.flows.size() == answers["flows"].size());
  for (std::size_t i = 0; i < result.flows.size(); ++i) {
    const double expected = answers["flows"][i]["finish_s"];
    worst = std::max(worst, std::abs(seconds(result.flows[i].finish) / expected - 1));
  }
  INFO(file << ": worst " << worst);
  CHECK(worst < 1e-6);
  CHECK(seconds(result.time) == Approx(answers["makespan_s"].get<double>()).epsilon(1e-6));
}

TEST_CASE("a flow begins to move hops x latency after its start; one to itself is free",
          "[flow_file]") {
  // 0 -> 2 half-way around axis x: two hops, 2 us; 90e9 B/s x 1 us = 90,000 bytes.
  const FlowFile file = parsed(file_with(R"({"src": 0, "dst": 2, "bytes": 90000, "start_s": 1e-6},
{"src": 5, "dst": 5, "bytes": 90000, "start_s": 4e-6})"));
  const NetworkRun result = run_flow_file(file);
  CHECK(result.flows[0].finish == Picoseconds(4'000'000));
  CHECK(result.flows[1].finish == Picoseconds(4'000'000));
  // Split: half the bytes each way.
  CHECK(run_flow_file(file, HalfwayTies::split).flows[0].finish == Picoseconds(3'500'000));
}

TEST_CASE("nodes are numbered by the file's rule", "[flow_file]") {
  const FlowFile first = parsed(file_with(R"({"src": 0, "dst": 1, "bytes": 1})"));
  CHECK(first.chip(1) == 16);  // x = 1
  CHECK(first.node(16) == 1);
  std::string text = file_with(R"({"src": 0, "dst": 1, "bytes": 1})");
  text.replace(text.find("x + X*(y + Y*z)"), 15, "z + Z*(y + Y*x)");
  CHECK(parsed(text).chip(1) == 1);
  text.replace(text.find("z + Z*(y + Y*x)"), 15, "y + Y*(x + X*z)");
  CHECK(complaint(text).find("node_id") != std::string::npos);
}

TEST_CASE("the file's own route is used", "[flow_file]") {
  // 0 -> 1 the long way: 0 -> 3 -> 2 -> 1, three hops.
  const FlowFile file =
      parsed(file_with(R"({"src": 0, "dst": 1, "bytes": 90000, "links": [[0,3],[3,2],[2,1]]})"));
  CHECK(run_flow_file(file).flows[0].finish == Picoseconds(4'000'000));
}

TEST_CASE("faults of a flow file have a place", "[flow_file]") {
  const auto says = [](const std::string& text, const std::string& what) {
    const std::string message = complaint(text);
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
    CHECK(message.find("flows.json:") != std::string::npos);
  };
  says(file_with(R"({"src": 0, "dst": 64, "bytes": 1})"), "flows.json:3:19: error: flows[0].dst");
  says(file_with(R"({"src": 0, "dst": 1, "bytes": -1})"), "flows[0].bytes");
  says(file_with(R"({"src": 0, "dst": 1, "bytes": 18446744073709551616})"), "flows[0].bytes");
  says(file_with(R"({"src": 0, "dst": 1, "bytes": 1.5})"), "flows[0].bytes");
  says(file_with(R"({"src": 0, "dst": 1, "bytes": 1, "start_s": -1})"), "flows[0].start_s");
  says(file_with(R"({"src": 0, "dst": 2, "bytes": 1, "links": [[0,1],[2,3]]})"),
       "the route is not connected: it is at node 1 and goes on from 2");
  says(file_with(R"({"src": 0, "dst": 2, "bytes": 1, "links": [[0,2]]})"),
       "no link leads from node 0 to 2");
  says(file_with(R"({"src": 0, "dst": 2, "bytes": 1, "links": [[0,1]]})"), "it ends at node 1");
  says(file_with(R"({"src": 0, "dst": 2, "bytes": 1, "links": []})"), "it ends at node 0");
  says(file_with(R"({"src": 0, "dst": 1, "bytes": 1, "size": 3})"), "size");
  says(file_with("7"), "flows[0]");
  says(file_with("", R"(, "colour": 3)"), "colour");
  std::string text = file_with("");
  text.replace(text.find("9e10"), 4, "0");
  says(text, "link_bytes_per_s");
  text = file_with("");
  text.replace(text.find("[4, 4, 4]"), 9, "[4, 0, 4]");
  says(text, "torus");
  text = file_with("");
  text.replace(text.find("[4, 4, 4]"), 9, "[4, 4, 4, 4]");
  says(text, "torus");
  text = file_with("");
  text.replace(text.find("flow-crosscheck/1"), 17, "flow-crosscheck/2");
  says(text, "schema");
}
