#include "moe/top_k.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "moe/clones.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t lanes = 16;
constexpr float lowest = -std::numeric_limits<float>::infinity();

// One value per lane, or a key for half of the lanes, in as many registers as the machine needs.
using Floats = float __attribute__((vector_size(4 * lanes)));
using Integers = std::int32_t __attribute__((vector_size(4 * lanes)));
using Keys = std::int64_t __attribute__((vector_size(4 * lanes)));
// The same where they lie in a vector of elements.
using FloatsInMemory = float __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
using IntegersInMemory =
    std::int32_t __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
using KeysInMemory = std::int64_t __attribute__((vector_size(4 * lanes), aligned(8), may_alias));

// A number as an integer that orders as it does, the index counted downwards below: keys are
// distinct, and the larger key is just the better choice.
std::int64_t key_of(float number, std::int64_t index) {
  const auto bits = std::bit_cast<std::int32_t>(number + 0.0F);     // of -0 as of 0
  const std::int32_t ordered = bits ^ ((bits >> 31) & 0x7fffffff);  // negative ones count backwards
  return static_cast<std::int64_t>(ordered) * (std::int64_t{1} << 32) + (0x7fffffff - index);
}

ExpertId index_of(std::int64_t key) {
  return static_cast<ExpertId>(0x7fffffff - (key & 0x7fffffff));
}

// numbers = values without NaN.
MESHSIM_CLONES void copy_numbers(const float* values, std::int64_t width, float* numbers) {
  for (std::int64_t e = 0; e < width; ++e) numbers[e] = values[e] == values[e] ? values[e] : lowest;
}

// The k-th largest of the lanes' best, k <= 16.
MESHSIM_CLONES float find_bound(const FloatsInMemory* numbers, std::int64_t rounds,
                                std::int64_t k) {
  Floats best = numbers[0];
  for (std::int64_t r = 1; r < rounds; ++r) best = best < numbers[r] ? numbers[r] : best;
  Integers above{};  // how many lanes have a larger best
  for (std::int64_t other = 0; other < lanes; ++other) above -= best[other] > best;
  // k lanes are below k, more if there are ties: the least of their bests.
  const Floats reached = above < static_cast<std::int32_t>(k) ? best : Floats{} - lowest;
  float least[lanes];
  for (std::int32_t l = 0; l < lanes; ++l) least[l] = reached[l];
  for (std::int32_t half = lanes / 2; half > 0; half /= 2)
    for (std::int32_t l = 0; l < half; ++l)
      least[l] = least[l + half] < least[l] ? least[l + half] : least[l];
  return least[0];
}

// Bit r of lane l: whether the number in round r of at most 32 reaches the bound.
MESHSIM_CLONES void find_candidates(const FloatsInMemory* numbers, std::int64_t rounds, float bound,
                                    IntegersInMemory* candidates) {
  Integers bits{};
  for (std::int64_t r = 0; r < rounds; ++r)
    bits |= (numbers[r] >= bound) & static_cast<std::int32_t>(std::uint32_t{1} << r);
  *candidates = bits;
}

// Appends the keys of the candidates of rounds `first` and on; returns how many keys there are
// then. Nothing here branches on the values, but the number of candidates: which lanes have some is
// as good as random, and a branch on it would be guessed wrong half of the time.
MESHSIM_CLONES std::int64_t append_keys(const IntegersInMemory& reached, std::int64_t first,
                                        const float* numbers, std::int64_t* keys,
                                        std::int64_t count) {
  std::uint32_t bits[lanes + 1] = {};
  std::int64_t lane[lanes + 1] = {}, some = 0, more = 0;
  for (std::int64_t l = 0; l < lanes; ++l) {
    const auto here = static_cast<std::uint32_t>(reached[l]);
    bits[some] = here;
    lane[some] = l;
    some += here != 0 ? 1 : 0;
    more += std::popcount(here);
  }
  std::uint32_t left = bits[0];
  for (std::int64_t at = 0; more > 0; --more) {
    const std::int64_t e = (first + std::countr_zero(left)) * lanes + lane[at];
    keys[count++] = key_of(numbers[e], e);
    left &= left - 1;
    at += left == 0 ? 1 : 0;
    left = left == 0 ? bits[at] : left;
  }
  return count;
}

// place[i] = how many of the first `count` keys are larger; of 16 keys.
MESHSIM_CLONES void rank_keys(const std::int64_t* keys, std::int64_t count, std::int64_t* place) {
  const auto* const halves = reinterpret_cast<const KeysInMemory*>(keys);
  const Keys low = halves[0], high = halves[1];
  Keys above_low{}, above_high{};
  for (std::int64_t other = 0; other < count; ++other) {
    above_low -= keys[other] > low;
    above_high -= keys[other] > high;
  }
  auto* const places = reinterpret_cast<KeysInMemory*>(place);
  places[0] = above_low;
  places[1] = above_high;
}

}  // namespace

TopK::TopK(std::int64_t width, std::int64_t k)
    : width_(width), k_(k), rounds_(ceil_div(width, lanes)) {
  if (k < 1 || k > width)
    throw Error(ErrorKind::invalid_input,
                fmt::format("top_k {} must lie between 1 and the {} experts", k, width));
  numbers_.assign(static_cast<std::size_t>(rounds_ * lanes), lowest);
  keys_.resize(numbers_.size());
}

void TopK::operator()(const float* values, ExpertId* chosen) {
  copy_numbers(values, width_, numbers_.data());
  const auto* const numbers = reinterpret_cast<const FloatsInMemory*>(numbers_.data());
  const float bound = k_ <= lanes ? find_bound(numbers, rounds_, k_) : lowest;
  std::int64_t* const keys = keys_.data();
  std::fill_n(keys, lanes, std::numeric_limits<std::int64_t>::min());
  std::int64_t count = 0;
  for (std::int64_t first = 0; first < rounds_; first += 32) {
    IntegersInMemory reached;
    find_candidates(numbers + first, std::min<std::int64_t>(32, rounds_ - first), bound, &reached);
    count = append_keys(reached, first, numbers_.data(), keys, count);
  }
  if (count > lanes) {
    std::partial_sort(keys, keys + k_, keys + count, std::greater<>());
    std::transform(keys, keys + k_, chosen, index_of);
    return;
  }
  std::int64_t place[lanes];
  rank_keys(keys, count, place);
  ExpertId ranked[lanes + 1];
  for (std::int64_t i = 0; i < lanes; ++i) ranked[place[i]] = index_of(keys[i]);
  std::copy_n(ranked, k_, chosen);
}

}  // namespace meshsim
