#include "inputs/nearest.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace meshsim;

namespace {

using Names = std::vector<std::string>;

// Optimal string alignment by its definition: the best of all ways to treat the last characters.
std::size_t distance(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.size() + b.size();
  const auto drop = [](std::string_view text, std::size_t n = 1) {
    return text.substr(0, text.size() - n);
  };
  std::size_t best = std::min({distance(drop(a), b) + 1, distance(a, drop(b)) + 1,
                               distance(drop(a), drop(b)) + (a.back() != b.back())});
  if (a.size() > 1 && b.size() > 1 && a.back() == b[b.size() - 2] && b.back() == a[a.size() - 2]) {
    best = std::min(best, distance(drop(a, 2), drop(b, 2)) + 1);
  }
  return best;
}

}  // namespace

TEST_CASE("the nearest names come first", "[nearest]") {
  const Names slices{"v5p-256", "v5p-512", "v5p-1024", "v5e-256"};
  CHECK(nearest("v5p-500", slices, 2) == Names{"v5p-512", "v5p-256"});
  CHECK(nearest("v5p-512", slices, 1) == Names{"v5p-512"});
  CHECK(nearest("v5p-215", slices, 1) == Names{"v5p-256"});
}

TEST_CASE("a swap of neighbours counts once", "[nearest]") {
  // "cores" is one swap away from "croes", "crabs" two substitutions.
  CHECK(nearest("croes", Names{"crabs", "cores"}, 2) == Names{"cores", "crabs"});
}

TEST_CASE("ties keep the order given", "[nearest]") {
  CHECK(nearest("ab", Names{"ax", "ay", "bb"}, 3) == Names{"ax", "ay", "bb"});
}

TEST_CASE("names that are far away are not offered", "[nearest]") {
  CHECK(nearest("xyz", Names{"cores", "hbm"}, 3).empty());
  CHECK(nearest("ab", Names{"a"}, 3) == Names{"a"});  // 1 of 2 characters
  CHECK(nearest("abc", Names{"a"}, 3).empty());       // 2 of 3
  CHECK(nearest("", Names{"a"}, 3).empty());
  CHECK(nearest("a", Names{}, 3).empty());
  CHECK(nearest(std::string(1'000'000, 'a'), Names{"a"}, 3).empty());  // and it takes no time
}

TEST_CASE("ranking agrees with the definition of the distance", "[nearest]") {
  std::mt19937 random(7);
  const auto word = [&] {
    std::string text(random() % 6, ' ');
    for (char& c : text) c = "abc"[random() % 3];
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    const std::string name = word();
    Names candidates(8);
    std::generate(candidates.begin(), candidates.end(), word);
    Names expected;
    for (const std::string& candidate : candidates) {
      if (2 * distance(name, candidate) <= std::max(name.size(), candidate.size())) {
        expected.push_back(candidate);
      }
    }
    std::stable_sort(expected.begin(), expected.end(), [&](const auto& a, const auto& b) {
      return distance(name, a) < distance(name, b);
    });
    CAPTURE(name, candidates);
    REQUIRE(nearest(name, candidates, 8) == expected);
    expected.resize(std::min<std::size_t>(expected.size(), 2));
    REQUIRE(nearest(name, candidates, 2) == expected);
  }
}

TEST_CASE("the suggestion reads like a sentence", "[nearest]") {
  CHECK(did_you_mean("ax", Names{"ab"}) == "did you mean ab?");
  CHECK(did_you_mean("ax", Names{"ab", "ac"}) == "did you mean ab or ac?");
  CHECK(did_you_mean("ax", Names{"ab", "ac", "ad", "ae"}) == "did you mean ab, ac or ad?");
  CHECK(did_you_mean("ax", Names{"qqqq"}).empty());
}
