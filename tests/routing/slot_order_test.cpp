#include "routing/slot_order.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "routing/capacity.hpp"
#include "routing/local_permute.hpp"
#include "routing/random.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

// The definition: a stable sort of slots by rolled id.
std::vector<Slot> sorted_naively(const std::vector<ExpertId>& ids, std::int64_t experts,
                                 std::int64_t roll) {
  std::vector<Slot> order(ids.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](Slot s) {
    return (ids[static_cast<std::size_t>(s)] - roll + experts) % experts;
  };
  std::stable_sort(order.begin(), order.end(), [&](Slot a, Slot b) { return key(a) < key(b); });
  return order;
}

std::vector<ExpertId> random_ids(std::uint64_t seed, std::int64_t count, std::int64_t experts) {
  std::vector<ExpertId> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(
        static_cast<ExpertId>(random_below(seed, static_cast<std::uint64_t>(i), experts)));
  return ids;
}

}  // namespace

TEST_CASE("the counting sort is a stable sort, whatever the roll") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::int64_t experts = 1 + random_below(seed, 1000, 17);
    const std::int64_t roll = random_below(seed, 1001, experts);
    const std::vector<ExpertId> ids = random_ids(seed, random_below(seed, 1002, 60), experts);
    const RouteMetadata sorted = sort_slots(ids, experts, roll);
    REQUIRE(sorted.order == sorted_naively(ids, experts, roll));
    const std::vector<Slot> inverse = inverse_of(sorted.order);
    for (std::size_t i = 0; i < ids.size(); ++i)
      REQUIRE(inverse[static_cast<std::size_t>(sorted.order[i])] == static_cast<Slot>(i));
    const std::vector<ExpertId> labels = labels_of(sorted.group_sizes);
    REQUIRE(labels.size() == ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
      REQUIRE(labels[i] ==
              (ids[static_cast<std::size_t>(sorted.order[i])] - roll + experts) % experts);
  }
}

TEST_CASE("an expert that does not exist is refused, at both ends") {
  CHECK_NOTHROW(sort_slots(std::vector<ExpertId>{0, 3}, 4));
  for (const ExpertId wrong : {-1, 4}) {
    const Error error = refusal([&] { sort_slots(std::vector<ExpertId>{0, wrong}, 4); });
    CHECK(error.kind() == ErrorKind::invalid_input);
    CHECK(std::string(error.what()).find("slot 1") != std::string::npos);
  }
}

TEST_CASE("capacity: the ceiling comes before the factor") {
  CHECK(expert_capacity(10, 2, 4, 1.3) == 6);  // ceil(20/4) = 5; int(6.5) = 6
  CHECK(expert_capacity(6, 2, 4, 1.0) == 3);   // 12/4
  CHECK(expert_capacity(1, 1, 64, 2.0) == 2);  // ceil(1/64) = 1, times 2
  const std::vector<ExpertId> ids{0, 1, 0, 0, /* next sequence */ 0, 0, 1, 1};
  CHECK(capacity_ranks(ids, 2, 4) == std::vector<std::int64_t>{0, 0, 1, 2, 0, 1, 0, 1});
}

TEST_CASE("rows beyond those received are in no group and come last") {
  CountMatrix counts(2, 4);  // two sources, four experts, two of them on each shard
  counts.at(0, 2) = 1;
  counts.at(0, 3) = 2;
  counts.at(1, 2) = 2;
  const LocalPermute sorted = local_permute_received(counts, 1, 2, 7);
  // Arrival: source 0: e0 e1 e1, source 1: e0 e0, then two rows of padding.
  CHECK(sorted.order == std::vector<Slot>{0, 3, 4, 1, 2, 5, 6});
  CHECK(sorted.group_sizes == std::vector<std::int64_t>{3, 2});
  // A buffer of four rows cuts the last row of the last source.
  CHECK(local_permute_received(counts, 1, 2, 4).group_sizes == std::vector<std::int64_t>{2, 2});
}
