// The critical path of programs that can be followed by hand, and their causes in groups.
#include "sim/critical_path.hpp"

#include <catch2/catch.hpp>

#include "sim/attribution.hpp"
#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "tests/sim/toy_programs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

constexpr std::int64_t t = tile_time;

ProgramNode named(std::string name, ProgramNode node) {
  node.leaf.name = std::move(name);
  return node;
}

struct Expected {
  std::string name, bound;
  std::int64_t count, time, slowed;
  bool operator==(const Expected&) const = default;
};

std::vector<Expected> path_of(const StepProgram& program, const Machine& machine) {
  std::vector<Expected> path;
  for (const PathOperation& one : critical_path(program, machine))
    path.push_back({one.name, one.bound, one.count, one.time.value(), one.slowed.value()});
  return path;
}

void check_path(const StepProgram& program, const Machine& machine,
                const std::vector<Expected>& expected) {
  const std::vector<Expected> path = path_of(program, machine);
  REQUIRE(path.size() == expected.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    INFO(path[i].name << " " << path[i].bound << " x " << path[i].count << ": " << path[i].time
                      << " ps, slowed " << path[i].slowed);
    CHECK(path[i] == expected[i]);
  }
}

Machine free_hbm() { return links_only({ring(0, 4)}); }

}  // namespace

TEST_CASE("operations in a row are all on the path, equal ones together", "[sim][path]") {
  const StepProgram program = program_of(repeat(
      3, sequence({named("a", work(2, 0)), named("b", work(0, 100)), named("a", work(2, 0))})));
  check_path(program, toy_machine(),
             {{"a", "tensor_core", 6, 3 * 2 * 2 * t, 0}, {"b", "hbm", 3, 3 * 100, 0}});
}

TEST_CASE("the longer branch of a Parallel is on the path", "[sim][path]") {
  // 8,000,000 bytes: 3,002,000 ps beside one tile.
  check_path(program_of(parallel(work(1, 0), {gather(8'000'000)})), free_hbm(),
             {{"gather", "ici", 1, 3'002'000, 0}});
  // 8,000 bytes: 5000 ps, hidden.
  check_path(program_of(parallel(work(1, 0), {gather(8'000)})), free_hbm(),
             {{"work", "tensor_core", 1, t, 0}});
}

TEST_CASE("who waits for a transfer inside a Parallel has it on the path before", "[sim][path]") {
  // a (1 tile), then c, which waits for the gather of 3,002,000 ps: c ends last.
  ProgramNode fetch = gather(8'000'000);
  fetch.leaf.mark = 1;
  ProgramNode user = named("c", work(2, 0));
  user.leaf.after = {1};
  check_path(program_of(parallel(sequence({named("a", work(1, 0)), user}), {fetch})), free_hbm(),
             {{"gather", "ici", 1, 3'002'000, 0}, {"c", "tensor_core", 1, 2 * t, 0}});
}

TEST_CASE("what shares HBM is slowed on the path", "[sim][path]") {
  // Each takes 1,200,000 ps of HBM alone and both go at half speed: they end together, and the
  // TensorCore's own operation is the path.
  Machine machine = toy_machine();
  machine.hop_latency = Picoseconds(0);
  check_path(program_of(parallel(work(0, 1'200'000), {gather(800'000)})), machine,
             {{"work", "hbm", 1, 2'400'000, 1'200'000}});
}

TEST_CASE("an empty program has an empty path", "[sim][path]") {
  check_path(program_of(sequence({})), toy_machine(), {});
}

TEST_CASE("causes in groups, each part once", "[sim][path]") {
  const auto part = [](Pass pass, const char* cause, std::int64_t ps) {
    return TimePart{"x", pass, cause, Picoseconds(ps)};
  };
  Timeline timeline;
  timeline.parts = {
      part(Pass::forward, "compute", 1),         part(Pass::backward, "compute", 2),
      part(Pass::recompute, "compute", 4),       part(Pass::recompute, "exposed:fsdp", 8),
      part(Pass::recompute, "bubble", 16),       part(Pass::forward, "bubble", 32),
      part(Pass::forward, "imbalance", 64),      part(Pass::recompute, "imbalance", 128),
      part(Pass::forward, "exposed:fsdp", 256),  part(Pass::forward, "exposed:data", 512),
      part(Pass::forward, "exposed:host", 1024), part(Pass::forward, "softmax", 2048),
      part(Pass::forward, "key_sort", 4096)};
  std::vector<std::pair<std::string, std::int64_t>> found;
  for (const Attribution& one : attribution(timeline, {"data"}))
    found.emplace_back(one.group + " " + one.detail, one.time.value());
  const std::vector<std::pair<std::string, std::int64_t>> expected{
      {"ideal_compute compute", 1 + 2}, {"vector_unit softmax", 2048},
      {"row_moves key_sort", 4096},     {"exposed_ici fsdp", 256},
      {"exposed_dcn data", 512},        {"exposed_host host", 1024},
      {"bubble bubble", 16 + 32},       {"imbalance imbalance", 64 + 128},
      {"recompute compute", 4},         {"recompute exposed:fsdp", 8}};
  CHECK(found == expected);
}

TEST_CASE("a cause that belongs to no group is our fault", "[sim][path]") {
  Timeline timeline;
  timeline.parts = {{"x", Pass::forward, "magic", Picoseconds(1)}};
  CHECK_THROWS_AS(attribution(timeline), Error);
}
