#include "routing/all_to_all.hpp"

#include <catch2/catch.hpp>

#include "routing/random.hpp"
#include "routing/traffic.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

CountMatrix random_matrix(std::uint64_t seed, std::int64_t rows, std::int64_t columns,
                          std::int64_t bound) {
  CountMatrix m(rows, columns);
  for (std::size_t i = 0; i < m.counts.size(); ++i) m.counts[i] = random_below(seed, i, bound);
  return m;
}

}  // namespace

TEST_CASE("what one rank sends is what the other receives, at the place where it is put") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const std::int64_t ranks = 1 + random_below(seed, 9999, 6);
    const CountMatrix m = random_matrix(seed, ranks, ranks, 9);
    const CountMatrix kept = truncated_to(m, 12);
    for (std::int64_t j = 0; j < ranks; ++j) {
      REQUIRE(kept.column_sum(j) == std::min<std::int64_t>(m.column_sum(j), 12));
      std::int64_t filled = 0;  // blocks lie by source, without holes
      for (std::int64_t i = 0; i < ranks; ++i) {
        const auto to = static_cast<std::size_t>(j), from = static_cast<std::size_t>(i);
        const AllToAllParameters sender = dispatch_parameters(m, kept, i);
        REQUIRE(sender.output_offsets[to] == filled);
        REQUIRE(sender.send_sizes[to] == dispatch_parameters(m, kept, j).recv_sizes[from]);
        // What comes back lands where it was taken from.
        const AllToAllParameters back = combine_parameters(m, kept, j);
        REQUIRE(back.output_offsets[from] == sender.input_offsets[to]);
        REQUIRE(back.send_sizes[from] == sender.send_sizes[to]);
        filled += sender.send_sizes[to];
      }
    }
  }
}

TEST_CASE("receive buffers: n min(P, E/k), or n times the factor, truncated") {
  CHECK(receive_buffer_rows(1000, 8, 10, 4, -1) == 2500);  // E/k = 2.5 < 8
  CHECK(receive_buffer_rows(1000, 2, 10, 4, -1) == 2000);  // P = 2 < 2.5
  CHECK(receive_buffer_rows(7, 8, 10, 4, 1.5) == 10);      // int(10.5)
  CHECK(refusal([] { receive_buffer_rows(7, 8, 4, 5, -1); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("predicted traffic: the sums of the reference, per device") {
  LayerExchange l;
  l.expert_ranks = 4;
  l.tokens = 6;
  l.embedding = 4;
  l.experts = 8;
  l.top_k = 2;
  l.gate_tables = 2;
  const auto sent_by_0 = [](const Traffic& traffic, const std::string& collective) {
    std::int64_t bytes = 0;
    for (const TrafficRow& row : traffic.rows())
      if (row.src == 0 && row.collective == collective) bytes += row.bytes;
    return bytes;
  };
  const CountMatrix slots = random_matrix(1, 4, 8, 5);
  const Traffic ragged = predicted_traffic(l, slots);
  const CountMatrix m = per_shard(slots, 4);
  CHECK(sent_by_0(ragged, "dispatch") == (m.row_sum(0) - m.at(0, 0)) * 4 * 4);
  CHECK(sent_by_0(ragged, "combine") == (m.column_sum(0) - m.at(0, 0)) * 4 * 4);
  CHECK(sent_by_0(ragged, "all_gather_shard_counts") == 4 * 4 * 3);
  CHECK(sent_by_0(ragged, "all_gather_expert_counts") == 4 * 8 * 3);
  l.strategy = Strategy::ring_of_experts;
  const Traffic ring = predicted_traffic(l, slots);
  CHECK(sent_by_0(ring, "all_gather_x") == 3 * 6 * 4 * 4);
  CHECK(sent_by_0(ring, "all_gather_gate_logits") == 3 * 6 * 8 * 4);
  CHECK(sent_by_0(ring, "all_gather_pre_bias") == 3 * 6 * 8 * 4);
  CHECK(sent_by_0(ring, "reduce_scatter") == 3 * 6 * 4 * 4);
  l.strategy = Strategy::batch_split;
  const Traffic split = predicted_traffic(l, slots);
  CHECK(sent_by_0(split, "all_gather_ids") == 3 * 6 * 2 * 4);
  CHECK(sent_by_0(split, "all_reduce_counts") == 2 * 8 * 8 * 3 / 4);  // 8 E (P-1)/P, twice
}
