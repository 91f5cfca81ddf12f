// Loads of a routing scenario: what they must conserve, and what the statistics say.
#include "routing/layer_loads.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "routing/all_to_all.hpp"
#include "routing/grouped_tiles.hpp"
#include "routing/popularity.hpp"
#include "routing/random.hpp"
#include "routing/routing_loads.hpp"
#include "routing/token_law.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

std::int64_t sum_of(std::span<const std::int64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

CountMatrix lognormal_slots(double sigma, std::uint64_t seed, const DrawShape& shape,
                            std::int64_t experts, DrawMode mode) {
  return drawn_slots(popularity(experts, sigma, seed, 0), shape, sub_seed(seed, 77), mode);
}

CountMatrix hashed_slots(const ZipfMandelbrot& law, const HashTable& table, std::int64_t experts,
                         const DrawShape& shape, const DrawnText& text, DrawMode mode) {
  const auto cumulative = law.cumulative();
  return TextDraws({cumulative.begin(), cumulative.end()}, table, experts, shape, mode)(text);
}

RoutingScenario lognormal(double sigma, std::uint64_t seed = 1) {
  RoutingScenario scenario;
  scenario.law.kind = RoutingLaw::Kind::lognormal;
  scenario.law.sigma = sigma;
  scenario.law.seed = seed;
  return scenario;
}

}  // namespace

TEST_CASE("normal quantiles") {
  CHECK(normal_quantile(0.5) == 0);
  // Phi(1.959963984540054) = 0.975, Phi(-3.090232306167813) = 0.001 (tables of the normal law).
  CHECK(normal_quantile(0.975) == Approx(1.959963984540054).epsilon(1e-8));
  CHECK(normal_quantile(0.001) == Approx(-3.090232306167813).epsilon(1e-8));
  CHECK(normal_quantile(0.999) == Approx(3.090232306167813).epsilon(1e-8));
}

TEST_CASE("inclusion probabilities of small cases by hand") {
  // k = 1: w_e / sum w.
  const std::vector<double> weights{1, 2, 5};
  const std::vector<double> one = inclusion_probabilities(weights, 1);
  for (std::size_t e = 0; e < 3; ++e) CHECK(one[e] == Approx(weights[e] / 8).epsilon(1e-5));
  // k = 2 of 3: left out is the last to arrive. Expert 0 is last if 1 then 2 or 2 then 1 come
  // first: 2/8 5/6 + 5/8 2/3 = 5/8.
  CHECK(inclusion_probabilities(weights, 2)[0] == Approx(1 - 5.0 / 8).epsilon(1e-5));
  CHECK(inclusion_probabilities(weights, 3) == std::vector<double>(3, 1.0));
}

TEST_CASE("counts sum to what was routed, and no token takes an expert twice") {
  for (const DrawMode mode : {DrawMode::exactly, DrawMode::by_counts}) {
    for (const std::int64_t top_k : {1, 3, 7, 8}) {
      const CountMatrix slots = lognormal_slots(1.5, 5, {4, 200, top_k}, 8, mode);
      for (std::int64_t p = 0; p < 4; ++p) CHECK(slots.row_sum(p) == 200 * top_k);
      for (const std::int64_t count : slots.counts) CHECK((count >= 0 && count <= 200));
    }
  }
}

TEST_CASE("rounding keeps the sum within the bounds") {
  CHECK(rounded_to_sum(std::vector<double>{1.4, 1.5, 1.1}, 4, 9) ==
        std::vector<std::int64_t>{1, 2, 1});
  CHECK(rounded_to_sum(std::vector<double>{7, -2, 0.5}, 6, 4) ==
        std::vector<std::int64_t>{4, 1, 1});
  CHECK(rounded_to_sum(std::vector<double>{3, 3, 3}, 5, 4) == std::vector<std::int64_t>{2, 2, 1});
}

namespace {

// By hand: round after round, one more for each by falling remainder, the first of equal ones
// first.
std::vector<std::int64_t> handed_out(const std::vector<double>& values, std::int64_t sum,
                                     std::int64_t most) {
  std::vector<std::int64_t> counts;
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (const double value : values) counts.push_back(static_cast<std::int64_t>(value));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return values[a] - std::floor(values[a]) > values[b] - std::floor(values[b]);
  });
  std::int64_t missing = sum - std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  while (missing > 0) {
    for (const std::size_t i : order) {
      if (missing == 0 || counts[i] == most) continue;
      ++counts[i];
      --missing;
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("rounding hands out what is missing by the largest remainders") {
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    // Quarters, so that remainders are often equal; sums up to what the bound leaves room for.
    const std::int64_t most = 1 + static_cast<std::int64_t>(random() % 4);
    std::vector<double> values(1 + random() % 20);
    std::int64_t whole = 0;
    for (double& value : values) {
      value = static_cast<double>(random() % static_cast<unsigned>(4 * most + 1)) / 4;
      whole += static_cast<std::int64_t>(value);
    }
    const std::int64_t room = most * static_cast<std::int64_t>(values.size()) - whole;
    const std::int64_t sum =
        whole + static_cast<std::int64_t>(random() % static_cast<unsigned>(room + 1));
    CHECK(rounded_to_sum(values, sum, most) == handed_out(values, sum, most));
  }
}

// Means over 6 repetitions of max / mean with E = 256, k = 8 and 16,384 tokens, from an independent
// Monte-Carlo run of the same law: per expert, then per device of 4 to 128.
struct Skews {
  double sigma;
  std::array<double, 7> skews;
};
constexpr std::array<std::int64_t, 7> parts{256, 4, 8, 16, 32, 64, 128};
constexpr std::array<Skews, 7> calibration{{{0, {1.12, 1.00, 1.01, 1.02, 1.04, 1.06, 1.08}},
                                            {.1, {1.33, 1.02, 1.03, 1.05, 1.07, 1.12, 1.20}},
                                            {.2, {1.80, 1.02, 1.05, 1.08, 1.18, 1.29, 1.47}},
                                            {.3, {2.27, 1.03, 1.08, 1.12, 1.25, 1.45, 1.65}},
                                            {.45, {3.42, 1.04, 1.12, 1.18, 1.37, 1.69, 2.43}},
                                            {.7, {5.79, 1.07, 1.16, 1.30, 1.65, 2.25, 3.54}},
                                            {1.0, {9.30, 1.10, 1.26, 1.43, 1.99, 3.04, 5.25}}}};

TEST_CASE("log-normal popularity has the skews that Monte-Carlo found", "[routing][calibration]") {
  for (const Skews& expected : calibration) {
    constexpr int repetitions = 100;
    std::array<double, 7> sums{}, squares{};
    for (int i = 0; i < repetitions; ++i) {
      const CountMatrix slots = lognormal_slots(expected.sigma, static_cast<std::uint64_t>(i),
                                                {1, 16384, 8}, 256, DrawMode::by_counts);
      for (std::size_t j = 0; j < parts.size(); ++j) {
        const double each = skew(received_rows(per_shard(slots, parts[j])));
        sums[j] += each;
        squares[j] += each * each;
      }
    }
    for (std::size_t j = 0; j < parts.size(); ++j) {
      const double mean = sums[j] / repetitions;
      // The table is good to 10 %, or to two and a half deviations of a mean of 6 where those are
      // more (sigma = 1 draws its hottest expert from a heavy tail).
      const double deviation = std::sqrt(std::max(0.0, squares[j] / repetitions - mean * mean) / 6);
      INFO("sigma " << expected.sigma << ", " << parts[j] << " parts");
      CHECK(std::abs(mean - expected.skews[j]) <
            std::max(0.10 * expected.skews[j], 2.5 * deviation));
    }
  }
}

TEST_CASE("counts drawn at once against tokens drawn one by one") {
  // Same popularity: the means agree within the noise of both, and so does the noise itself.
  constexpr std::int64_t tokens = 2048, experts = 64, top_k = 6, sources = 12;
  for (const double sigma : {0.0, 0.45, 1.0}) {
    const std::vector<double> weights = popularity(experts, sigma, 3, 0);
    const std::vector<double> p = inclusion_probabilities(weights, top_k);
    const DrawShape shape{sources, tokens, top_k};
    for (const DrawMode mode : {DrawMode::exactly, DrawMode::by_counts}) {
      const CountMatrix slots = drawn_slots(weights, shape, 11, mode);
      double squares = 0;  // of (count - mean) / standard deviation
      for (std::int64_t e = 0; e < experts; ++e) {
        const double share = p[static_cast<std::size_t>(e)];
        const double mean = static_cast<double>(tokens) * share;
        const double deviation = std::sqrt(mean * (1 - share));
        for (std::int64_t i = 0; i < sources; ++i) {
          const double z = (static_cast<double>(slots.at(i, e)) - mean) / deviation;
          CHECK(std::abs(z) < 5.5);
          squares += z * z;
        }
      }
      // 64 x 12 squares of variance about 1; a fixed sum takes one of 64: 1 +- 3 sqrt(2 / 768).
      INFO("sigma " << sigma);
      CHECK(squares / static_cast<double>(sources * experts) == Approx(1).margin(0.16));
    }
  }
}

TEST_CASE("hash layers: counts drawn at once against tokens drawn one by one") {
  const HashTable table = random_hash_table(1000, 4, 16, 9);
  const ZipfMandelbrot law(1000, 1, 2.7);
  const DrawShape shape{8, 4096, 4};
  const CountMatrix exact = hashed_slots(law, table, 16, shape, {5, 0}, DrawMode::exactly);
  const CountMatrix fast = hashed_slots(law, table, 16, shape, {5, 0}, DrawMode::by_counts);
  for (std::int64_t p = 0; p < 8; ++p) CHECK(exact.row_sum(p) == 4096 * 4);
  for (std::int64_t p = 0; p < 8; ++p) CHECK(fast.row_sum(p) == 4096 * 4);
  // 8 x 4096 tokens, a share q of slots each: the sums of both over sources have a deviation of at
  // most sqrt(32768 q), so that they part by less than 5 sqrt(2) of it.
  const std::vector<std::int64_t> a = expert_slots(exact), b = expert_slots(fast);
  for (std::size_t e = 0; e < a.size(); ++e)
    CHECK(std::abs(static_cast<double>(a[e] - b[e])) <
          5 * std::sqrt(2 * static_cast<double>(a[e])));
}

TEST_CASE("a table of zeros sends every slot to expert 0, however it is drawn") {
  const ZipfMandelbrot law(100, 1, 0);
  for (const DrawMode mode : {DrawMode::exactly, DrawMode::by_counts}) {
    const CountMatrix slots =
        hashed_slots(law, zeros_hash_table(100, 6), 32, {4, 50, 6}, {1, 0}, mode);
    for (std::int64_t p = 0; p < 4; ++p) CHECK(slots.at(p, 0) == 50 * 6);
    CHECK(skew(received_rows(per_shard(slots, 4))) == 4);  // P times the mean, on one of P ranks
  }
}

TEST_CASE("a step's loads: rows sum to T k, as many are sent as received, and seeds decide") {
  RoutedLayers layers{8, 64, 6, 1000, 512, {true, false, false}};
  RoutingScenario scenario = lognormal(0.45);
  scenario.table.kind = HashTableLaw::Kind::md5;
  const RoutingLoads loads = routing_loads(scenario, layers);
  REQUIRE(loads.layers.size() == 3);
  for (const CountMatrix& slots : loads.layers) {
    for (std::int64_t p = 0; p < 8; ++p) CHECK(slots.row_sum(p) == 512 * 6);
    const CountMatrix m = per_shard(slots, 8);
    CHECK(sum_of(received_rows(m)) == 8 * 512 * 6);
    CHECK(received_rows(m) == received_rows(per_shard(slots, 8)));
  }
  CHECK(loads.layers[1] != loads.layers[2]);
  CHECK(routing_loads(scenario, layers).layers == loads.layers);
  CHECK(routing_loads(lognormal(0.45, 2), layers).layers[1] != loads.layers[1]);
  CHECK(routing_loads(lognormal(0.45), layers).balanced(0));  // no table was named
  // From step to step popularity moves a little: a correlation of 0.99.
  scenario.law.step = 1;
  const auto before = expert_slots(loads.layers[1]);
  const auto after = expert_slots(routing_loads(scenario, layers).layers[1]);
  CHECK(before != after);
  const auto hottest = std::max_element(before.begin(), before.end()) - before.begin();
  CHECK(static_cast<double>(after[static_cast<std::size_t>(hottest)]) ==
        Approx(static_cast<double>(before[static_cast<std::size_t>(hottest)])).epsilon(0.25));
}

TEST_CASE("more sigma, more skew, for the same seed") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    double last = 0;
    for (const double sigma : {0.0, 0.2, 0.45, 0.7, 1.0}) {
      const CountMatrix slots =
          lognormal_slots(sigma, seed, {8, 4096, 6}, 256, DrawMode::by_counts);
      const double now = skew(received_rows(per_shard(slots, 8)));
      CHECK(now > last);
      last = now;
    }
  }
}

TEST_CASE("a trace is taken as it is, or in the same shares") {
  RoutingTrace trace;
  trace.ranks = 2, trace.experts = 4, trace.top_k = 2, trace.tokens_per_rank = 10;
  CountMatrix slots(2, 4);
  slots.counts = {10, 5, 5, 0, 0, 0, 0, 20};
  trace.add(0, 0, slots);
  RoutingScenario scenario;
  scenario.law.kind = RoutingLaw::Kind::trace;
  scenario.trace = std::make_shared<RoutingTrace>(trace);
  CHECK(routing_loads(scenario, {2, 4, 2, 1, 10, {false}}).layers[0] == slots);
  // 25 tokens of 2 slots: 50 slots, of which 1/2, 1/4, 1/4; 12.5 is rounded to 13 and 12.
  CHECK(routing_loads(scenario, {2, 4, 2, 1, 25, {false}}).layers[0].counts ==
        std::vector<std::int64_t>{25, 13, 12, 0, 0, 0, 0, 50});
}

TEST_CASE("buffers that are too small lose rows: later sources, or last experts") {
  CountMatrix slots(2, 4);     // 2 ranks of 2 experts
  slots.counts = {3, 4, 1, 0,  //
                  2, 2, 0, 5};
  // Rank 0 receives 3 + 4 from source 0, then 2 + 2: a buffer of 8 keeps one row of the last block.
  CHECK(local_group_sizes(slots, 2, 0, -1, Cut::by_source) == std::vector<std::int64_t>{5, 6});
  CHECK(local_group_sizes(slots, 2, 0, 8, Cut::by_source) == std::vector<std::int64_t>{4, 4});
  CHECK(local_group_sizes(slots, 2, 0, 8, Cut::by_expert) == std::vector<std::int64_t>{5, 3});
  const CountMatrix m = per_shard(slots, 2);
  CHECK(truncation_drops(m, 8) == 3);  // 11 - 8, and 6 fit
  // What is kept is what the all-to-all sends.
  CHECK(truncated_to(m, 8).column_sum(0) == 8);
  CHECK(sum_of(m.counts) - sum_of(truncated_to(m, 8).counts) == truncation_drops(m, 8));
  CHECK(capacity_drops(slots, 3) == 1 + 2);
}

TEST_CASE("equal loads are what an even spread is, to the tile") {
  // 4 local experts of 96 rows: tiles of 64 rows begin at 0, 96, 192, 288.
  const CountMatrix slots = [] {
    CountMatrix m(2, 8);
    std::fill(m.counts.begin(), m.counts.end(), 48);
    return m;
  }();
  const auto sizes = local_group_sizes(slots, 2, 1, -1, Cut::by_source);
  CHECK(sizes == std::vector<std::int64_t>(4, 96));
  CHECK(tiles_per_group(sizes, 64) == std::vector<std::int64_t>{2, 2, 2, 2});
  CHECK(skew(received_rows(per_shard(slots, 2))) == 1);
}

TEST_CASE("laws from their texts") {
  const RoutingLaw law = parse_routing_law("lognormal:sigma=0.45,seed=7,step=3").value();
  CHECK((law.sigma == 0.45 && law.seed == 7 && law.step == 3));
  const RoutingLaw trace = parse_routing_law("trace:a,b=c.jsonl,step=2").value();
  CHECK((trace.file == "a,b=c.jsonl" && trace.step == 2));
  CHECK(parse_routing_law("balanced").value().kind == RoutingLaw::Kind::balanced);
  for (const char* wrong : {"", "lognormal", "lognormal:seed=1", "lognormal:sigma=-1",
                            "lognormal:sigma=1,sigma=2", "lognormal:sigma=0.1,", "trace:",
                            "lognormal:sigma=0.1,skew=2", "Balanced", "trace:a,step=-1"}) {
    INFO(wrong);
    CHECK_FALSE(parse_routing_law(wrong));
  }
  CHECK(parse_hash_table_law("tables/a.txt").value().file == "tables/a.txt");
  CHECK_FALSE(parse_hash_table_law("md6"));
  CHECK(parse_token_law("zipf:s=1.1,q=2").value().q == 2);
  CHECK(parse_token_law("zipf:s=2").value().q == 2.7);
  CHECK(parse_token_law("histogram:h.txt").value().file == "h.txt");
  for (const char* wrong : {"zipf:s=-1", "zipf:q=-1", "histogram:", "zipf:s", "uniform:1"})
    CHECK_FALSE(parse_token_law(wrong));
}

TEST_CASE("a histogram of token ids; faults name the line") {
  CHECK(parse_token_histogram({"h", "2 5\n0 1\n"}, 3) == std::vector<std::int64_t>{1, 0, 5});
  const auto says = [](const char* text, const char* part) {
    const std::string what = refusal([&] { parse_token_histogram({"h", text}, 3); }).what();
    INFO(what);
    CHECK(what.find(part) != std::string::npos);
  };
  says("0 1\n3 1\n", "h:2:1: error: token id 3 is outside the vocabulary of 3");
  says("0 1\n0 2\n", "names token id 0 again");
  says("0 1 2\n", "(got 3 numbers)");
  says("0 0\n", "counts no token");
}
