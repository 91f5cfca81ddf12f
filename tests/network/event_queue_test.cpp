#include "sim/network/event_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace meshsim;

TEST_CASE("events of one time come out as they went in", "[event_queue]") {
  EventQueue<int> queue;
  for (int i = 0; i < 100; ++i) queue.push(i % 3, i);
  std::vector<int> seen;
  while (!queue.empty()) seen.push_back(queue.pop().payload);
  std::vector<int> expected;
  for (int time = 0; time < 3; ++time) {
    for (int i = time; i < 100; i += 3) expected.push_back(i);
  }
  CHECK(seen == expected);
}

TEST_CASE("an event pushed at the present time comes after those that wait for it",
          "[event_queue]") {
  EventQueue<char> queue;
  queue.push(5, 'a');
  queue.push(5, 'b');
  CHECK(queue.pop().payload == 'a');
  queue.push(5, 'c');
  queue.push(4, 'd');
  CHECK(queue.pop().payload == 'd');
  CHECK(queue.pop().payload == 'b');
  CHECK(queue.pop().payload == 'c');
}

TEST_CASE("pushes and pops in any mixture keep the order of a sorted list", "[event_queue]") {
  std::mt19937_64 random(1);
  EventQueue<std::uint64_t> queue;
  std::vector<std::pair<std::int64_t, std::uint64_t>> oracle;  // time, sequence
  std::uint64_t sequence = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (queue.empty() || random() % 5 < 3) {
      const auto time = static_cast<std::int64_t>(random() % 50);
      queue.push(time, sequence);
      oracle.emplace_back(time, sequence++);
    } else {
      const auto next = std::min_element(oracle.begin(), oracle.end());
      const auto event = queue.pop();
      REQUIRE(event.time_ps == next->first);
      REQUIRE(event.payload == next->second);
      oracle.erase(next);
    }
  }
  CHECK(queue.size() == oracle.size());
}
