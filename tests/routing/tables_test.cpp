#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "routing/hash_table.hpp"
#include "routing/routing_trace.hpp"
#include "routing/token_law.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;

namespace {

bool mentions(const Error& error, const std::string& text) {
  return std::string(error.what()).find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("drawn tables name distinct experts and are the same every time") {
  for (const HashTable& table :
       {random_hash_table(500, 6, 16, 3), md5_hash_table(500, 6, 16), md5_hash_table(9, 40, 40)}) {
    for (std::int64_t token = 0; token < table.vocab; ++token) {
      const auto row = table.row(token);
      const std::set<ExpertId> distinct(row.begin(), row.end());
      REQUIRE(distinct.size() == row.size());
      REQUIRE(*distinct.begin() >= 0);
      REQUIRE(*distinct.rbegin() < std::max<std::int64_t>(16, table.top_k));
    }
    CHECK_FALSE(table.repeats_experts());
  }
  CHECK(random_hash_table(50, 3, 8, 1).experts == random_hash_table(50, 3, 8, 1).experts);
  CHECK(random_hash_table(50, 3, 8, 1).experts != random_hash_table(50, 3, 8, 2).experts);
}

TEST_CASE("md5: the experts are the digits of the digest") {
  // MD5("0") = cfcd208495d565ef66e7dff9f98764da. Its value mod 256 is the last byte, 0xda = 218.
  CHECK(md5_hash_table(1, 1, 256).row(0)[0] == 218);
}

TEST_CASE("a table of zeros sends every slot to expert 0") {
  const HashTable table = zeros_hash_table(4, 3);
  CHECK(table.repeats_experts());
  CHECK(table.row(3)[2] == 0);
  CHECK(mentions(refusal([&] { (void)table.row(4); }), "token id 4"));
}

TEST_CASE("a table from a file; faults name line and column") {
  CHECK(parse_hash_table({"t", "1 2\n0 3\n"}, 2, 2, 4).experts ==
        std::vector<ExpertId>{1, 2, 0, 3});
  CHECK(mentions(refusal([] { parse_hash_table({"t", "1 2\n0 4\n"}, 2, 2, 4); }), "t:2:3"));
  CHECK(mentions(refusal([] { parse_hash_table({"t", "1 2\n0\n"}, 2, 2, 4); }), "t:2:1"));
  CHECK(mentions(refusal([] { parse_hash_table({"t", "1 2\n"}, 2, 2, 4); }), "got 1"));
  CHECK(mentions(refusal([] { parse_hash_table({"t", "1 x\n"}, 1, 2, 4); }), "t:1:3"));
}

TEST_CASE("token ids from texts") {
  CHECK(byte_tokens({"t", "aB"}, 98) == std::vector<std::int64_t>{97, 66});
  CHECK(mentions(refusal([] { byte_tokens({"t", "a\n\xff"}, 256); }), "t:2:1"));
  CHECK(mentions(refusal([] { byte_tokens({"t", "aa\naB"}, 97); }), "t:1:1"));
  CHECK(mentions(refusal([] { byte_tokens({"t", "A\nAb"}, 98); }), "t:2:2"));
  CHECK(parse_token_ids({"t", "5 6\n\n7"}, 8) == std::vector<std::int64_t>{5, 6, 7});
  CHECK(mentions(refusal([] { parse_token_ids({"t", "5\n8"}, 8); }), "t:2:1"));
}

TEST_CASE("Zipf and Mandelbrot: frequencies follow the law") {
  const ZipfMandelbrot law(50, 1.0, 2.7);
  CHECK(law.probability(0) / law.probability(9) == Approx((10 + 2.7) / (1 + 2.7)));
  constexpr int draws = 200'000;
  std::vector<int> seen(50);
  for (std::uint64_t i = 0; i < draws; ++i) ++seen[static_cast<std::size_t>(law.token(7, i))];
  for (const std::size_t id : {0UL, 10UL, 49UL}) {
    const double p = law.probability(static_cast<std::int64_t>(id));
    const double deviation = std::sqrt(draws * p * (1 - p));  // of a binomial count
    CHECK(std::abs(seen[id] - draws * p) < 5 * deviation);
  }
  CHECK(refusal([] { ZipfMandelbrot(0, 1, 0); }).kind() == ErrorKind::invalid_input);
  CHECK(refusal([] { ZipfMandelbrot(5, 1, -1); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("a routing trace is read back as it was written") {
  RoutingTrace trace;
  trace.model = "tiny";
  trace.ranks = 2;
  trace.experts = 3;
  trace.top_k = 2;
  trace.tokens_per_rank = 2;
  CountMatrix slots(2, 3);
  slots.at(0, 0) = 4;
  slots.at(1, 1) = 1;
  slots.at(1, 2) = 3;
  trace.add(0, 0, slots);
  const std::string text = routing_trace_text(trace);
  CHECK(parse_routing_trace({"t", text}) == trace);
  CHECK(parse_routing_trace({"t", text}).slots(0, 0) == slots);

  const auto head = text.substr(0, text.find('\n') + 1);
  CHECK(mentions(refusal([&] { parse_routing_trace({"t", head}); }), "must sum to"));
  const std::string row = R"({"layer":0,"step":0,"src":0,"expert":0,"slots":2})";
  const std::string twice = head + row + "\n" + row + "\n";
  CHECK(mentions(refusal([&] { parse_routing_trace({"t", twice}); }), "t:3:1"));
  const std::string wrong = head + R"({"layer":0,"step":0,"src":2,"expert":0,"slots":4})";
  CHECK(mentions(refusal([&] { parse_routing_trace({"t", wrong}); }), "t:2:"));
  CHECK(refusal([] { parse_routing_trace({"t", ""}); }).kind() == ErrorKind::invalid_input);
}
