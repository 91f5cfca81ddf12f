// Slots per source rank and expert, drawn from a statistical router or a law of tokens.
//
// Two ways, for the same law:
//   exactly    token by token
//   by counts  for many tokens: the count of each (source, expert) is drawn on its own, binomial
//              (T, p) where it is small and normal with the same mean and variance where not; then
//              what misses to the T k slots of a source is shared out in proportion to the
//              variances, which gives counts the covariance of a draw of fixed size, and rounded
// Equal seeds give equal slots.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "routing/count_matrix.hpp"
#include "routing/hash_table.hpp"

namespace meshsim {

enum class DrawMode { exactly, by_counts };

struct DrawShape {
  std::int64_t ranks = 1;            // P
  std::int64_t tokens_per_rank = 0;  // T
  std::int64_t top_k = 1;            // k
};

// The count of slots that T tokens give an expert.
struct CountLaw {
  double mean = 0, variance = 0;
};

// Draws of T tokens on each of P ranks that choose k distinct of the experts with popularity
// `weights`. What they share is computed once.
class RouterDraws {
 public:
  RouterDraws(std::vector<double> weights, const DrawShape& shape, DrawMode mode);
  CountMatrix operator()(std::uint64_t seed) const;  // [P, E]

 private:
  std::vector<double> weights_;
  DrawShape shape_;
  DrawMode mode_;
  std::vector<CountLaw> laws_;  // by counts
};
CountMatrix drawn_slots(std::span<const double> weights, const DrawShape& shape, std::uint64_t seed,
                        DrawMode mode);

// An endless text of drawn tokens, and where in it a step begins: rank p reads the tokens
// first + p T .. first + (p + 1) T - 1.
struct DrawnText {
  std::uint64_t seed = 0;
  std::int64_t first = 0;
};

// Draws of T tokens on each of P ranks, of the law with cumulative probabilities `cumulative` ([V],
// ends at 1), through `table`.
class TextDraws {
 public:
  TextDraws(std::vector<double> cumulative, HashTable table, std::int64_t experts,
            const DrawShape& shape, DrawMode mode);
  CountMatrix operator()(const DrawnText& text) const;  // [P, experts]

 private:
  std::vector<double> cumulative_;
  HashTable table_;
  std::int64_t experts_;
  DrawShape shape_;
  DrawMode mode_;
  std::vector<CountLaw> laws_;  // by counts
};

// Integers near `values` (each 0 to `most`) that sum to `sum`: rounded down, and what is missing
// to those with the largest remainders. Requires sum <= values.size() most.
std::vector<std::int64_t> rounded_to_sum(std::span<const double> values, std::int64_t sum,
                                         std::int64_t most);

}  // namespace meshsim
