// All-to-alls of unequal shares: link by link.
#include "cost_models/exchange_price.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <numeric>
#include <random>
#include <tuple>

#include "tests/cost_models/toy_machine.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

CountMatrix equal(std::int64_t ranks, std::int64_t slots) {
  CountMatrix all(ranks, ranks);
  for (std::int64_t& count : all.counts) count = slots;
  return all;
}

Collective all_to_all(std::int64_t ranks, std::int64_t bytes) {
  return {CollectiveKind::all_to_all, {"fsdp"}, ranks, Bytes(bytes)};
}

}  // namespace

TEST_CASE("equal shares cost what the closed form says", "[cost_models][exchange]") {
  const std::vector<std::vector<PhysicalPart>> meshes{{ring(0, 2)},
                                                      {ring(0, 4)},
                                                      {ring(0, 5)},
                                                      {line(0, 4)},
                                                      {line(0, 5)},
                                                      {ring(0, 4, 2)},
                                                      {line(1, 2, 4)},
                                                      {ring(0, 4), ring(1, 8)},
                                                      {line(0, 3), ring(1, 4), line(2, 2, 2)}};
  for (const auto& parts : meshes) {
    std::int64_t ranks = 1;
    for (const PhysicalPart& part : parts) ranks *= part.part;
    const std::int64_t slots = 840;  // of each pair
    const Machine machine = toy_machine(parts);
    const Collective work = all_to_all(ranks, ranks * slots * 16);
    const Price closed = price(work, machine);
    const Price exact = price(work, exchange_traffic(equal(ranks, slots), parts, 1), 16, machine);
    INFO(ranks);
    CHECK(exact.duration == closed.duration);
    for (std::size_t r = 0; r < resource_count; ++r)
      CHECK(exact.times[r] == Approx(closed.times[r]).epsilon(1e-12));
  }
}

TEST_CASE("who receives most is bound by the links that lead to it", "[cost_models][exchange]") {
  // Everybody sends 100 slots to rank 0. Ring of 4: 1 and 3 are next to it, the slots of 2 come
  // half from either side: 150 on each of its links. Line of 4: all 300 over the one link it has.
  CountMatrix hot(4, 4);
  for (std::int64_t from = 0; from < 4; ++from) hot.at(from, 0) = 100;
  const std::vector<PhysicalPart> on_ring{ring(0, 4)};
  const std::vector<PhysicalPart> on_line{line(0, 4)};
  CHECK(exchange_traffic(hot, on_ring, 1).links == std::vector<double>{150});
  CHECK(exchange_traffic(hot, on_line, 1).links == std::vector<double>{300});
  // Rank 0 keeps its own 100 and receives 300.
  CHECK(exchange_traffic(hot, on_ring, 1).ends == 300);
  // Back from it, the same links the other way.
  CHECK(exchange_traffic(transposed(hot), on_ring, 1).links == std::vector<double>{150});
}

TEST_CASE("slots go along the first axis first", "[cost_models][exchange]") {
  // 2 x 3 ranks, lines. From (0, 0) to (1, 2): along axis 0 beside column 0, then two links of
  // row 1.
  CountMatrix one(6, 6);
  one.at(0, 5) = 7;
  one.at(3, 4) = 5;  // from (1, 0) to (1, 1): shares the first link of row 1
  const std::vector<PhysicalPart> parts{line(0, 2), line(1, 3)};
  CHECK(exchange_traffic(one, parts, 1).links == std::vector<double>{7, 12});
}

TEST_CASE("turning a ring round changes nothing", "[cost_models][exchange]") {
  constexpr std::int64_t n = 8;
  CountMatrix some(n, n), turned(n, n);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      some.at(i, j) = (i * 37 + j * j * 11) % 101;
      turned.at((i + 3) % n, (j + 3) % n) = some.at(i, j);
    }
  const std::vector<PhysicalPart> parts{ring(0, n)};
  const ExchangeTraffic a = exchange_traffic(some, parts, 1);
  const ExchangeTraffic b = exchange_traffic(turned, parts, 1);
  CHECK(a.links[0] == Approx(b.links[0]));
  CHECK(a.ends == b.ends);
}

TEST_CASE("between slices the device that sends or receives most counts",
          "[cost_models][exchange]") {
  // Two slices of two ranks. Over DCN: 0 sends 10 to each of 2 and 3, 2 sends 30 to 0. The most
  // that one has is 30 (2 out, 0 in); the mean of what leaves is (20 + 30) / 4.
  CountMatrix far(4, 4);
  far.at(0, 2) = far.at(0, 3) = 10;
  far.at(2, 0) = 30;
  far.at(0, 1) = 4;
  const std::vector<PhysicalPart> parts{line(0, 2)};
  const ExchangeTraffic traffic = exchange_traffic(far, parts, 2);
  CHECK(traffic.outside == Approx(30 / 12.5));
  CHECK(traffic.links == std::vector<double>{4});
}

namespace {

// Slots on the busiest link of each part, every pair of ranks walked by itself: along one axis
// after the other, hop by hop; what goes half way around a ring goes half either way.
std::vector<double> walked(const CountMatrix& sent, const std::vector<PhysicalPart>& parts) {
  // Place on the other axes, place on this one, way: slots.
  std::vector<std::map<std::tuple<std::int64_t, std::int64_t, bool>, double>> links(parts.size());
  for (std::int64_t from = 0; from < sent.rows; ++from) {
    for (std::int64_t to = 0; to < sent.rows; ++to) {
      std::int64_t at = from, inner = sent.rows;
      for (std::size_t d = 0; d < parts.size(); ++d) {
        const std::int64_t n = parts[d].part;
        inner /= n;
        const std::int64_t here = at / inner % n, there = to / inner % n;
        const auto walk = [&](bool up, double slots) {
          for (std::int64_t place = here; place != there;) {
            const std::int64_t next = (place + (up ? 1 : n - 1)) % n;
            links[d][{at - here * inner, up ? place : next, up}] += slots;
            place = next;
          }
        };
        const auto slots = static_cast<double>(sent.at(from, to));
        const std::int64_t hops = (there - here + n) % n;
        if (!parts[d].wraparound) {
          walk(there > here, slots);
        } else if (2 * hops == n) {
          walk(true, slots / 2);
          walk(false, slots / 2);
        } else {
          walk(2 * hops < n, slots);
        }
        at += (there - here) * inner;
      }
    }
  }
  std::vector<double> busiest;
  for (const auto& part : links) {
    busiest.push_back(0);
    for (const auto& [link, slots] : part) busiest.back() = std::max(busiest.back(), slots);
  }
  return busiest;
}

}  // namespace

TEST_CASE("links carry what every pair of ranks sends over them", "[cost_models][exchange]") {
  std::mt19937 random(3);
  const std::vector<std::vector<PhysicalPart>> meshes{{ring(0, 2), line(1, 3), ring(2, 4)},
                                                      {line(0, 4), ring(1, 5)},
                                                      {ring(0, 6), line(1, 2), line(2, 3)},
                                                      {ring(0, 8)}};
  for (const auto& parts : meshes) {
    std::int64_t ranks = 1;
    for (const PhysicalPart& part : parts) ranks *= part.part;
    CountMatrix sent(ranks, ranks);
    for (std::int64_t& count : sent.counts)
      count = static_cast<std::int64_t>(random() % 3 == 0 ? random() % 1000 : 0);
    // Halves of whole slots: exact.
    CHECK(exchange_traffic(sent, parts, 1).links == walked(sent, parts));
    CHECK(exchange_traffic(transposed(sent), parts, 1).links == walked(transposed(sent), parts));
    // What leaves and enters a rank, its own slots left out.
    std::int64_t most = 0;
    for (std::int64_t p = 0; p < ranks; ++p)
      most = std::max(most, sent.row_sum(p) + sent.column_sum(p) - 2 * sent.at(p, p));
    CHECK(exchange_traffic(sent, parts, 1).ends == static_cast<double>(most));
  }
}
