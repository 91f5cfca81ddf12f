#include "units/name.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace meshsim {
namespace {

TEST_CASE("equal names are one place, whoever asks for them") {
  const std::string text = "attention_result";
  CHECK(Name(text) == Name("attention_" + std::string("result")));
  CHECK(&Name(text).text() == &Name(text.c_str()).text());
  CHECK(Name(text).place() != Name("attention_results").place());
  CHECK(Name() == Name(""));
  CHECK(Name().text().empty());
  CHECK(Name("a") + "b" == "ab");
  CHECK("d_" + Name("x") == "d_x");
}

TEST_CASE("names stand in the order of their texts, in whatever order they were met") {
  std::set<Name> names;
  for (const char* text : {"q@2", "q", "d_q", "", "q@10"}) names.insert(text);
  std::vector<std::string> order;
  for (const Name name : names) order.push_back(name.text());
  CHECK(order == std::vector<std::string>{"", "d_q", "q", "q@10", "q@2"});
}

// More names than a thread's table has room for at first, of all lengths around its words of eight.
TEST_CASE("threads that meet the same names at once agree on their places") {
  constexpr int threads = 4, count = 5000;
  const auto name = [](int i) {
    return Name(std::string(static_cast<std::size_t>(i % 20), 'x') + std::to_string(i));
  };
  std::vector<std::vector<std::int64_t>> places(threads);
  {
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        for (int i = 0; i < count; ++i)
          places[static_cast<std::size_t>(t)].push_back(name(i).place());
      });
    }
  }
  for (const auto& of_thread : places) CHECK(of_thread == places.front());
  CHECK(std::set<std::int64_t>(places[0].begin(), places[0].end()).size() == count);
}

}  // namespace
}  // namespace meshsim
