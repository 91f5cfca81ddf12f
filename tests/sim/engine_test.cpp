// Both fidelities on programs that can be timed by hand.
#include <catch2/catch.hpp>

#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "tests/refusal.hpp"
#include "tests/sim/toy_programs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

constexpr std::int64_t t = tile_time;

Machine free_hbm() { return links_only({ring(0, 4)}); }

void check_time(const StepProgram& program, const Machine& machine, std::int64_t expected) {
  CHECK(closed_form(program, machine).total == Picoseconds(expected));
  CHECK(simulate_events(program, machine).total == Picoseconds(expected));
}

std::int64_t part(const Timeline& timeline, const std::string& cause) {
  std::int64_t sum = 0;
  for (const TimePart& one : timeline.parts) {
    if (one.cause == cause) sum += one.time.value();
  }
  return sum;
}

}  // namespace

TEST_CASE("a leaf takes its price", "[sim]") {
  check_time(program_of(work(3, 10)), toy_machine(), 3 * t);
  check_time(program_of(work(0, 777)), toy_machine(), 777);
  // 8 MB over a ring of 4: 6 MB received over two links, 3e6 ps, and two hops of 1000 ps; without
  // HBM. With it, 12e6 ps.
  check_time(program_of(gather(8'000'000)), free_hbm(), 3'000'000 + 2000);
  check_time(program_of(gather(8'000'000)), toy_machine(), 12'000'000 + 2000);
  check_time(program_of(gather(0)), toy_machine(), 2000);
  check_time(program_of(sequence({})), toy_machine(), 0);
}

TEST_CASE("sequences add, repeats multiply", "[sim]") {
  check_time(program_of(sequence({work(1, 0), gather(8'000), work(2, 0)})), free_hbm(),
             3 * t + 3000 + 2000);
  check_time(program_of(repeat(5, sequence({work(1, 0), repeat(3, work(0, 10))}))), toy_machine(),
             5 * (t + 30));
}

TEST_CASE("a collective hides beside work that does not share its resources", "[sim]") {
  // 2000 + 3000 ps beside one tile.
  const StepProgram hidden = program_of(parallel(work(1, 0), {gather(8'000)}));
  check_time(hidden, free_hbm(), t);
  // 3,000,000 + 2000 ps beside it: the rest is exposed.
  const StepProgram longer = program_of(parallel(work(1, 0), {gather(8'000'000)}));
  check_time(longer, free_hbm(), 3'002'000);
  for (const Timeline& timeline :
       {closed_form(longer, free_hbm()), simulate_events(longer, free_hbm())}) {
    CHECK(part(timeline, "compute") == t);
    CHECK(part(timeline, "exposed:fsdp") == 3'002'000 - t);
    CHECK(part(timeline, "contention") == 0);
  }
}

TEST_CASE("work and a collective that both want HBM share it", "[sim]") {
  // Alone each takes 1,200,000 ps of HBM; hops aside, together 2,400,000: both run at half speed.
  Machine machine = toy_machine();
  machine.hop_latency = Picoseconds(0);
  const StepProgram both = program_of(parallel(work(0, 1'200'000), {gather(800'000)}));
  check_time(both, machine, 2'400'000);
  for (const Timeline& timeline : {closed_form(both, machine), simulate_events(both, machine)}) {
    CHECK(part(timeline, "memory_bound") == 1'200'000);
    CHECK(part(timeline, "contention") == 1'200'000);
  }
}

TEST_CASE("whoever wants less than its share of HBM is not slowed", "[sim]") {
  Machine machine = toy_machine();
  machine.hop_latency = Picoseconds(0);
  machine.hbm = BytesPerSecond(8e12);
  // Main: 8e6 bytes, 1e6 ps of HBM. Beside: 8/3 e6 bytes gathered, 1e6 ps of links, whose 4e6 bytes
  // hold HBM at half. Each wants at most half: both run on, main slowed to half speed for 1e6 ps.
  // It then has 0.5e6 ps left, alone.
  check_time(program_of(parallel(work(0, 8'000'000), {gather(2'666'664)})), machine, 1'500'000);
}

TEST_CASE("who does not use a full resource runs at full speed", "[sim]") {
  // Main needs the MXU only; beside it two collectives share the links of one axis, each a tile
  // long. Two tiles of work beside two tiles of shared links: 2.
  Machine machine = free_hbm();
  machine.hop_latency = Picoseconds(0);
  const std::int64_t bytes = tile_time * 8 / 3;  // one tile's time on the links
  const StepProgram program =
      program_of(parallel(sequence({work(1, 0), work(1, 0)}), {gather(bytes), gather(bytes)}));
  for (const Timeline& timeline :
       {closed_form(program, machine), simulate_events(program, machine)}) {
    CHECK(static_cast<double>(timeline.total.value()) == Approx(2.0 * tile_time).epsilon(1e-4));
    CHECK(part(timeline, "contention") == 0);
  }
}

TEST_CASE("intervals tell when everything ran", "[sim]") {
  const StepProgram program =
      program_of(sequence({work(1, 0), parallel(work(1, 0), {gather(8'000)}), work(2, 0)}));
  const Timeline timeline = simulate_unrolled(program, free_hbm());
  REQUIRE(timeline.intervals.size() == 4);  // in the order of their ends
  CHECK(timeline.intervals[0].end == Picoseconds(t));
  CHECK(timeline.intervals[1].leaf->name == "gather");
  CHECK(timeline.intervals[1].start == Picoseconds(t));
  CHECK(timeline.intervals[1].end == Picoseconds(t + 5000));
  CHECK(timeline.intervals[2].end == Picoseconds(2 * t));
  CHECK(timeline.intervals[3].start == Picoseconds(2 * t));
  CHECK(timeline.intervals[3].end == timeline.total);
  CHECK(closed_form(program, free_hbm()).intervals.empty());
}

TEST_CASE("an empty branch or an empty repeat holds nothing up", "[sim]") {
  const StepProgram program =
      program_of(sequence({parallel(sequence({}), {sequence({})}), repeat(0, work(1, 0)),
                           parallel(sequence({}), {gather(8'000)}), work(1, 0)}));
  check_time(program, free_hbm(), 5000 + t);
}

TEST_CASE("a million operations that take no time end at once", "[sim]") {
  check_time(program_of(repeat(1'000'000, work(0, 0))), toy_machine(), 0);
}

TEST_CASE("beyond the cap of operations the engine refuses, with a way out", "[sim]") {
  // Ten tiles, a transfer of 5000 ps, and the end of both.
  const StepProgram program = program_of(parallel(repeat(10, work(1, 0)), {gather(8'000)}));
  CHECK(simulate_events(program, free_hbm(), 12).total == Picoseconds(10 * t));
  CHECK(simulate_unrolled(program, free_hbm(), 12).total == Picoseconds(10 * t));
  const Error error = refusal([&] { simulate_events(program, free_hbm(), 9); });
  CHECK(error.kind() == ErrorKind::resource_limit);
  CHECK_THAT(error.diagnostics().front().what, Catch::Contains("more than 9 operations"));
  CHECK_THAT(error.diagnostics().front().hint, Catch::Contains("closed-form"));
}

TEST_CASE("an operation that never ends is named, not waited for", "[sim]") {
  // A machine of rate 0 makes an endless operation.
  Machine stopped = toy_machine();
  stopped.hbm = BytesPerSecond(0);
  CHECK_THROWS_AS(simulate_events(program_of(work(0, 10)), stopped), Error);
}
