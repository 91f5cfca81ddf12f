// Closed forms of collectives on rings, lines, planes, cubes and strided parts of them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "cost_models/price.hpp"
#include "tests/cost_models/toy_machine.hpp"
#include "tests/plans/plan_request.hpp"
#include "units/error.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

std::int64_t members(const Machine& machine) {
  std::int64_t n = 1;
  for (const PhysicalPart& part : machine.mesh_axes.front().parts) n *= part.part;
  return n;
}

Price priced_on(CollectiveKind kind, std::int64_t bytes, const Machine& machine) {
  return price(Collective{kind, {"fsdp"}, members(machine), Bytes(bytes)}, machine);
}

// Without the hops: what the links take at 1 byte/ps.
std::int64_t link_time(CollectiveKind kind, std::int64_t bytes, std::vector<PhysicalPart> parts) {
  const Price cost = priced_on(kind, bytes, links_only(std::move(parts)));
  return cost.duration.value() - cost.latency.value();
}

constexpr auto gather = CollectiveKind::all_gather;
constexpr auto scatter = CollectiveKind::reduce_scatter;
constexpr auto reduce = CollectiveKind::all_reduce;
constexpr auto exchange = CollectiveKind::all_to_all;

}  // namespace

TEST_CASE("all-gather: every axis carries its share, both ways on a ring", "[cost_models]") {
  const std::int64_t V = 1 << 20;
  // A ring of 8 receives 7/8 V over two links; a line of 8 over one.
  CHECK(link_time(gather, V, {ring(0, 8)}) == V * 7 / 8 / 2);
  CHECK(link_time(gather, V, {line(0, 8)}) == V * 7 / 8);
  // 4 x 8: four links; 4 x 8 x 8: six.
  CHECK(link_time(gather, V, {ring(0, 4), ring(1, 8)}) == V * 31 / 32 / 4);
  CHECK(link_time(gather, V, {ring(0, 4), ring(1, 8), ring(2, 8)}) ==
        (V - V / 256 + 5) / 6);  // rounded up
  // A ring and a line: three links.
  CHECK(link_time(gather, V, {ring(0, 4), line(1, 2)}) == (V * 7 / 8 + 2) / 3);
  // Every other chip of 8: two such rings share the links.
  CHECK(link_time(gather, V, {ring(0, 4, 2)}) == V * 3 / 4);
  // Every fourth chip, on a line: four groups share one link.
  CHECK(link_time(gather, V, {line(0, 2, 4)}) == V / 2 * 4);
  CHECK(link_time(scatter, V, {ring(0, 8)}) == link_time(gather, V, {ring(0, 8)}));
}

TEST_CASE("a permute goes one way along the last axis", "[cost_models]") {
  // Every device sends V to its neighbour over one link; turns into the next row use links of the
  // other axis, one device in eight.
  const std::int64_t V = 1 << 20;
  constexpr auto pass = CollectiveKind::permute;
  CHECK(link_time(pass, V, {ring(0, 8)}) == V);
  CHECK(link_time(pass, V, {ring(0, 4), ring(1, 8)}) == V);
  CHECK(link_time(pass, V, {line(0, 4)}) == V);  // the last sends back the other way
  // Every other chip: each hop crosses two links, which two rings share.
  CHECK(link_time(pass, V, {ring(0, 4, 2)}) == 2 * V);
  // Rounds follow each other: the way counts once for each.
  const Machine machine = links_only({ring(0, 8)});
  Collective work{pass, {"fsdp"}, 8, Bytes(V)};
  const Price once = price(work, machine);
  work.rounds = 7;
  const Price round = price(work, machine);
  CHECK(round.latency == once.latency * 7);
  CHECK(round.duration - round.latency == once.duration - once.latency);
  CHECK(work.sent() == Bytes(V));
}

TEST_CASE("an all-reduce is a reduce-scatter and an all-gather", "[cost_models]") {
  const std::vector<std::vector<PhysicalPart>> groups{
      {ring(0, 4)}, {line(0, 8)}, {ring(0, 4), ring(1, 8)}, {ring(2, 4, 2)}};
  for (const auto& parts : groups) {
    const Machine machine = toy_machine(parts);
    const Price both = priced_on(reduce, 3 << 20, machine);
    const Price first = priced_on(scatter, 3 << 20, machine);
    const Price second = priced_on(gather, 3 << 20, machine);
    for (std::size_t r = 0; r < resource_count; ++r)
      CHECK(both.times[r] == Approx(first.times[r] + second.times[r]).epsilon(1e-12));
    CHECK(both.latency == first.latency + second.latency);
  }
}

TEST_CASE("all-to-all: the busiest link of dimension-ordered routes", "[cost_models]") {
  const std::int64_t D = 1 << 20;
  // Ring of 8: D n / 8 per link. By hand for one direction: a chip sends D/8 to each of its
  // neighbours at distance 1, 2, 3 and half of that at distance 4, in all D/8 (1 + 2 + 3 + 2)
  // byte-hops = D, spread over one link a chip.
  CHECK(link_time(exchange, D, {ring(0, 8)}) == D);
  CHECK(link_time(exchange, D, {ring(0, 4)}) == D / 2);
  CHECK(link_time(exchange, D, {ring(0, 16)}) == 2 * D);
  // Line of 8: 4 chips send half of their payload each across the middle.
  CHECK(link_time(exchange, D, {line(0, 8)}) == 4 * D / 2);
  CHECK(link_time(exchange, D, {line(0, 2)}) == D / 2);
  // 4 x 8: the longer axis.
  CHECK(link_time(exchange, D, {ring(0, 4), ring(1, 8)}) == D);
  // Strided by 2: two exchanges on the same links.
  CHECK(link_time(exchange, D, {ring(0, 4, 2)}) == D);
}

TEST_CASE("the load of an all-to-all equals that of its routes", "[cost_models]") {
  // Chip by chip: shares of D / n to all, the shorter way round, ties split.
  for (std::int64_t n = 2; n <= 17; ++n) {
    for (const bool wraps : {true, false}) {
      std::vector<double> up(static_cast<std::size_t>(n), 0);  // of the link from i to i + 1
      for (std::int64_t from = 0; from < n; ++from) {
        for (std::int64_t to = 0; to < n; ++to) {
          const std::int64_t ahead = (to - from + n) % n;
          double share = wraps ? (2 * ahead < n ? 1 : 2 * ahead == n ? 0.5 : 0) : to > from ? 1 : 0;
          for (std::int64_t i = 0; i < ahead && share > 0; ++i)
            up[static_cast<std::size_t>((from + i) % n)] += share / static_cast<double>(n);
        }
      }
      const double busiest = *std::max_element(up.begin(), up.end());
      INFO(n << (wraps ? " ring" : " line"));
      const PhysicalPart part{0, n, 1, wraps};
      const double time = priced_on(exchange, 1'000'000'000, links_only({part})).times[ici_0];
      CHECK(time == Approx(busiest * 1e9).epsilon(1e-12));
    }
  }
}

TEST_CASE("64 MiB over a v5p slice of 4x4x8", "[cost_models]") {
  // v5p-256: rings of 4, 4 and 8; a link sends 9e10 B/s one way, of which a share is reached.
  const Plan plan = plan_of({"model_name=llama3.1-8b", "compile_topology=v5p-256"});
  Machine machine = machine_of(plan);
  machine.software.overlap = Overlap::ideal;
  const double link = 9e10 * plan.config.calibration->value("ici", "v5p");
  CHECK(machine.ici_link.value() == Approx(link));
  const std::int64_t V = 64 << 20;
  const auto cost = [&](CollectiveKind kind) {
    return price(Collective{kind, {"fsdp"}, 128, Bytes(V)}, machine);
  };
  // (127 / 128) V over 6 links, and 2 + 2 + 4 hops of 1 us.
  const double transfer = 127.0 / 128 * static_cast<double>(V) / (6 * link) * 1e12;
  CHECK(static_cast<double>(cost(gather).duration.value()) == Approx(transfer + 8e6).margin(1));
  CHECK(cost(gather).latency == Picoseconds(8'000'000));
  CHECK(static_cast<double>(cost(reduce).duration.value()) ==
        Approx(2 * (transfer + 8e6)).margin(2));
  // The axis of 8 bounds the exchange: V 8 / 8 / w. All hops again.
  CHECK(static_cast<double>(cost(exchange).duration.value()) ==
        Approx(static_cast<double>(V) / link * 1e12 + 8e6).margin(1));
}

TEST_CASE("hops: half a ring, all of a line, strides in full", "[cost_models]") {
  const auto hops = [](std::vector<PhysicalPart> parts) {
    return priced_on(gather, 0, toy_machine(std::move(parts))).duration.value() / 1000;
  };
  CHECK(hops({ring(0, 8)}) == 4);
  CHECK(hops({ring(0, 5)}) == 2);
  CHECK(hops({line(0, 8)}) == 7);
  CHECK(hops({ring(0, 4, 2)}) == 4);
  CHECK(hops({ring(0, 4), ring(1, 4), ring(2, 8)}) == 8);
  // Nothing to send: latency alone.
  const Price empty = priced_on(gather, 0, toy_machine());
  CHECK(empty.bound == Bound::latency);
  CHECK(empty.duration == empty.latency);
}

TEST_CASE("a collective moves its bytes through HBM", "[cost_models]") {
  // Ring of 4 and V = 4000: 3000 B sent. Gathered and exchanged bytes are written and read again;
  // reduced ones are read, added to and written.
  const auto hbm_time = [](CollectiveKind kind) {
    return priced_on(kind, 4000, toy_machine()).times[hbm];
  };
  CHECK(hbm_time(gather) == Approx(2 * 3000));
  CHECK(hbm_time(exchange) == Approx(2 * 3000));
  CHECK(hbm_time(scatter) == Approx(3 * 3000));
  CHECK(hbm_time(reduce) == Approx((2 + 3) * 3000));
  CHECK(priced_on(gather, 4000, toy_machine()).bound == Bound::memory);  // 6000 > 1500 of links
}

TEST_CASE("doubling a rate never slows a collective; infinite rates leave latency",
          "[cost_models]") {
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    const auto any = [&](int n) { return static_cast<std::int64_t>(random()) % n; };
    std::vector<PhysicalPart> parts;
    for (std::size_t axis = 0; axis <= static_cast<std::size_t>(any(3)); ++axis)
      parts.push_back({axis, 2 + any(15), 1 + any(3), any(2) == 1});
    const Machine machine = toy_machine(parts);
    const auto kind = static_cast<CollectiveKind>(any(4));
    const std::int64_t bytes = any(1'000'000);
    const Price before = priced_on(kind, bytes, machine);
    CHECK(before.duration >= before.latency);
    for (std::size_t r = 0; r < resource_count; ++r) CHECK(before.use(r) <= 1.0);
    Machine faster = machine;
    faster.hbm = machine.hbm * 2;
    CHECK(priced_on(kind, bytes, faster).duration <= before.duration);
    faster = machine;
    faster.ici_link = machine.ici_link * 2;
    CHECK(priced_on(kind, bytes, faster).duration <= before.duration);
    faster.ici_link = BytesPerSecond(infinite);
    faster.hbm = BytesPerSecond(infinite);
    CHECK(priced_on(kind, bytes, faster).duration == before.latency);
  }
}

TEST_CASE("an axis that the machine does not have is our fault", "[cost_models]") {
  CHECK_THROWS_AS(toy_machine().parts({"expert"}), Error);
  CHECK(toy_machine().parts({}).empty());
}

TEST_CASE("who moves a transfer: one way or both, beside the TensorCore or not", "[cost_models]") {
  // V over a ring of 8: 7/8 V at 1 byte/ps one way, half of that both ways.
  const std::int64_t V = 1 << 20;
  const double one_way = static_cast<double>(V) * 7 / 8;
  Machine machine = links_only({ring(0, 8)});
  machine.offloaded_transfer = 0.25;
  const auto cost = [&](Mover mover, Overlap overlap) {
    machine.software = {mover, mover, mover, overlap};
    return priced_on(gather, V, machine);
  };
  const Price stepwise = cost(Mover::stepwise, Overlap::xla);
  CHECK(stepwise.times[ici_0] == Approx(one_way));
  CHECK(stepwise.times[tensor_core] == Approx(one_way));
  CHECK(stepwise.times[sparse_core] == 0);
  CHECK(stepwise.latency == machine.hop_latency * 7);
  const Price fused = cost(Mover::fused, Overlap::xla);
  CHECK(fused.times[ici_0] == Approx(one_way / 2));
  CHECK(fused.times[tensor_core] == Approx(one_way / 2));
  CHECK(fused.latency == machine.hop_latency * 4);
  const Price offloaded = cost(Mover::sparse_core, Overlap::xla);
  CHECK(offloaded.times[ici_0] == Approx(one_way));
  CHECK(offloaded.times[sparse_core] == Approx(one_way));
  CHECK(offloaded.times[tensor_core] == Approx(one_way / 4));
  // The bounds.
  for (const Mover mover : {Mover::stepwise, Mover::fused, Mover::sparse_core}) {
    const Price none = cost(mover, Overlap::none);
    CHECK(none.times[tensor_core] == Approx(none.times[ici_0]));
    CHECK(none.times[ici_0] == cost(mover, Overlap::xla).times[ici_0]);
    const Price ideal = cost(mover, Overlap::ideal);
    CHECK(ideal.times[ici_0] == Approx(one_way / 2));
    CHECK(ideal.times[tensor_core] == 0);
  }
  // A line has one way only.
  machine = links_only({line(0, 8)});
  CHECK(cost(Mover::stepwise, Overlap::xla).times[ici_0] ==
        cost(Mover::fused, Overlap::xla).times[ici_0]);
}
