// Reading back what a validation run says that it moved.
#include "routing/traffic_file.hpp"

#include <catch2/catch.hpp>

#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

const std::vector<TracedTraffic> moved{{0, 0, {"combine", 1, 0, 30}},
                                       {0, 0, {"dispatch", 0, 1, 10}},
                                       {0, 0, {"dispatch", 1, 0, 20}},
                                       {1, 0, {"dispatch", 0, 1, 5}}};

TrafficFile parsed(const std::string& text) { return parse_traffic({"t.jsonl", text}); }

TrafficChoice choice(const std::string& text) { return parse_traffic_choice(text).value(); }

}  // namespace

TEST_CASE("traffic comes back as it was written", "[routing][traffic]") {
  const std::string text = traffic_text("deepseek4-tiny", 2, moved);
  CHECK(is_traffic(text));
  CHECK_FALSE(is_traffic("[[0, 1], [1, 0]]"));
  const TrafficFile file = parsed(text);
  CHECK(file.model == "deepseek4-tiny");
  REQUIRE(file.rows.size() == moved.size());
  for (std::size_t i = 0; i < moved.size(); ++i) CHECK(file.rows[i].row == moved[i].row);
}

TEST_CASE("rows are chosen by collective, layer and step", "[routing][traffic]") {
  const TrafficFile file = parsed(traffic_text("deepseek4-tiny", 2, moved));
  CHECK(chosen_bytes(file, {}).counts == std::vector<std::int64_t>{0, 15, 50, 0});
  CHECK(chosen_bytes(file, choice("dispatch")).counts == std::vector<std::int64_t>{0, 15, 20, 0});
  CHECK(chosen_bytes(file, choice("dispatch,layer=1")).counts ==
        std::vector<std::int64_t>{0, 5, 0, 0});
  CHECK(chosen_bytes(file, choice("layer=0,step=0")).counts ==
        std::vector<std::int64_t>{0, 10, 50, 0});
  CHECK_THAT(refusal([&] { chosen_bytes(file, choice("step=1")); }).what(),
             Contains("combine, dispatch"));
  for (const char* bad : {"", "layer=", "layer=-1", "layer=1,layer=2", "a,b", "rank=1", "a,"}) {
    INFO(bad);
    CHECK_FALSE(parse_traffic_choice(bad));
  }
}

TEST_CASE("traffic that cannot be is refused with its line", "[routing][traffic]") {
  const std::string head = "{\"schema\":\"traffic/1\",\"model\":\"m\",\"ranks\":2}\n";
  const auto row = [](int src, int dst, const char* bytes) {
    return "{\"layer\":0,\"step\":0,\"collective\":\"dispatch\",\"src\":" + std::to_string(src) +
           ",\"dst\":" + std::to_string(dst) + ",\"bytes\":" + bytes + "}\n";
  };
  const auto says = [&](const std::string& text, const char* part) {
    CHECK_THAT(refusal([&] { parsed(text); }).what(), Contains(part));
  };
  says("", "t.jsonl:1");
  says("{\"schema\":\"traffic/2\",\"model\":\"m\",\"ranks\":2}\n", "t.jsonl:1");
  says(head + row(0, 2, "1"), "t.jsonl:2");
  says(head + row(0, 1, "1") + row(1, 1, "1"), "t.jsonl:3:1: error: rank 1 sends to itself");
  says(head + row(0, 1, "0"), "t.jsonl:2");
  says(head + row(0, 1, "9007199254740992") + row(1, 0, "1"), "sum to more than 2^53");
}
