#include <catch2/catch.hpp>
#include <set>

#include "program/visited_blocks.hpp"

using namespace meshsim;

namespace {

bool sees(const Visibility& v, std::int64_t t, std::int64_t s) {
  if (s > t) return false;
  switch (v.kind) {
    case Visibility::Kind::full: return true;
    case Visibility::Kind::sliding: return t - s < v.window;
    case Visibility::Kind::chunked: return t / v.window == s / v.window;
  }
  return false;
}

}  // namespace

TEST_CASE("a block is visited if it holds a visible pair", "[program]") {
  // By the definition, pair by pair; windows and chunks smaller and larger than blocks, and
  // sequences that blocks do not divide.
  for (const std::int64_t S : {1, 7, 16, 33, 48}) {
    for (const BlockShape block : {BlockShape{4, 4}, {8, 4}, {4, 16}, {16, 5}, {64, 64}}) {
      for (const std::int64_t window : {1, 2, 5, 8, 24, 100}) {
        for (const auto kind :
             {Visibility::Kind::full, Visibility::Kind::sliding, Visibility::Kind::chunked}) {
          const Visibility v{kind, window};
          std::set<std::pair<std::int64_t, std::int64_t>> blocks;
          for (std::int64_t t = 0; t < S; ++t) {
            for (std::int64_t s = 0; s <= t; ++s) {
              if (sees(v, t, s)) blocks.insert({t / block.queries, s / block.keys});
            }
          }
          INFO(S << " " << block.queries << "x" << block.keys << " " << window);
          CHECK(visited_blocks(v, {0, S}, block) == static_cast<std::int64_t>(blocks.size()));
        }
      }
      for (const std::int64_t ratio : {1, 4, 9}) {
        std::set<std::pair<std::int64_t, std::int64_t>> blocks;
        for (std::int64_t t = 0; t < S; ++t) {
          for (std::int64_t entry = 0; entry < (t + 1) / ratio; ++entry)
            blocks.insert({t / block.queries, entry / block.keys});
        }
        INFO(S << " " << block.queries << "x" << block.keys << " ratio " << ratio);
        CHECK(visited_compressed_blocks(ratio, {0, S}, block) ==
              static_cast<std::int64_t>(blocks.size()));
      }
    }
  }
}
