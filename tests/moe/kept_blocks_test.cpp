#include "moe/kept_blocks.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <thread>

#include "routing/random.hpp"

using namespace meshsim;

namespace {
constexpr std::size_t mib = std::size_t{1} << 20;
}

TEST_CASE("a freed block serves the next buffer of its class") {
  KeptBlocks blocks;
  void* const first = blocks.take(10 * mib);
  blocks.give_back(first, 10 * mib);
  CHECK(blocks.live() == 0);
  CHECK(blocks.kept() == 10 * mib);
  // 8 MiB / 8 = 1 MiB is the step of the classes between 8 and 16 MiB.
  void* const second = blocks.take(9 * mib + 1);
  CHECK(second == first);
  CHECK(blocks.kept() == 0);
  void* const third = blocks.take(10 * mib);
  CHECK(third != first);
  blocks.give_back(second, 9 * mib + 1);
  blocks.give_back(third, 10 * mib);
}

TEST_CASE("a class is at most an eighth larger than what was asked for") {
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const auto bytes =
        KeptBlocks::least + static_cast<std::size_t>(random_below(1, i, std::int64_t{1} << 34));
    const std::size_t size = KeptBlocks::class_of(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size - bytes <= bytes / 8);
    REQUIRE(KeptBlocks::class_of(size) == size);
  }
}

TEST_CASE("keeping never needs more than the most that was live") {
  KeptBlocks blocks;
  std::deque<std::pair<void*, std::size_t>> held;
  std::size_t most = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    if (held.size() < 5 || random_below(2, i, 2) == 0) {
      const auto bytes = KeptBlocks::least + static_cast<std::size_t>(random_below(
                                                 3, i, static_cast<std::int64_t>(mib)));
      held.emplace_back(blocks.take(bytes), bytes);
      std::memset(held.back().first, static_cast<int>(i), 64);
    } else {
      blocks.give_back(held.front().first, held.front().second);
      held.pop_front();
    }
    most = std::max(most, blocks.live());
    REQUIRE(blocks.most() == most);
    REQUIRE(blocks.live() + blocks.kept() <= most);
  }
  for (const auto& [block, bytes] : held) blocks.give_back(block, bytes);
  CHECK(blocks.live() == 0);
}

TEST_CASE("ranks that are threads never share a block") {
  KeptBlocks blocks;
  bool intact[4] = {true, true, true, true};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 200; ++i) {
        const std::size_t bytes = KeptBlocks::least + static_cast<std::size_t>(i % 7) * 4096;
        auto* const block = static_cast<unsigned char*>(blocks.take(bytes));
        std::memset(block, thread + 1, bytes);
        std::this_thread::yield();
        for (std::size_t at = 0; at < bytes; at += 4096)
          intact[thread] = intact[thread] && block[at] == thread + 1;
        blocks.give_back(block, bytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const bool each : intact) CHECK(each);
}
