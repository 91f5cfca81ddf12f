// What an exchange means for its ranks: who waits for whom, and what is dropped.
#include "routing/exchange_load.hpp"

#include <catch2/catch.hpp>

using namespace meshsim;

namespace {

// Two ranks with two experts each.
CountMatrix slots(std::vector<std::int64_t> counts) {
  CountMatrix matrix(2, 4);
  matrix.counts = std::move(counts);
  return matrix;
}

}  // namespace

TEST_CASE("the straggler is the rank with most rows", "[routing][exchange]") {
  // Rank 0 receives 3 + 1 and 2 + 0, rank 1 1 + 1 and 0 + 4.
  const ExchangeLoad load = exchange_load(slots({3, 1, 1, 1,  //
                                                 2, 0, 0, 4}),
                                          -1, Cut::by_source);
  CHECK(load.rows == std::vector<std::int64_t>{6, 6});
  // Equal rows: rank 0's lie in two groups (5, 1), rank 1's in two (1, 5); the first one counts.
  CHECK(load.straggler == 0);
  CHECK(load.straggler_groups == std::vector<std::int64_t>{5, 1});
  CHECK(load.sent.at(0, 1) == 2);
  CHECK(load.sent.at(1, 0) == 2);
  CHECK(load.slots == 12);
  CHECK(load.dropped == 0);
  CHECK(load.skew == 1);
}

TEST_CASE("a full buffer drops later sources, or later experts", "[routing][exchange]") {
  // Rank 0 wants 4 + 3 rows, expert 0 has 3 + 2 of them; a buffer holds 5.
  const CountMatrix all = slots({3, 1, 0, 1,  //
                                 2, 1, 1, 1});
  const ExchangeLoad ragged = exchange_load(all, 5, Cut::by_source);
  CHECK(ragged.rows == std::vector<std::int64_t>{5, 3});
  CHECK(ragged.dropped == 2);
  CHECK(ragged.sent.at(1, 0) == 1);                                   // 5 - 4
  CHECK(ragged.straggler_groups == std::vector<std::int64_t>{4, 1});  // 3 + 1, 1
  CHECK(ragged.skew == Approx(7.0 / 5));                              // as routed, not as cut
  const ExchangeLoad ring = exchange_load(all, 5, Cut::by_expert);
  CHECK(ring.rows == std::vector<std::int64_t>{5, 3});
  CHECK(ring.dropped == 2);
  CHECK(ring.straggler_groups == std::vector<std::int64_t>{5, 0});
}

TEST_CASE("every slot to one expert is P times the mean", "[routing][exchange]") {
  const ExchangeLoad load = exchange_load(slots({6, 0, 0, 0,  //
                                                 6, 0, 0, 0}),
                                          -1, Cut::by_source);
  CHECK(load.skew == 2);
  CHECK(load.straggler == 0);
  CHECK(load.straggler_rows() == 12);
}
