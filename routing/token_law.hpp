// Where token ids come from: a law, a text, or a file of ids.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inputs/source.hpp"

namespace meshsim {

// Zipf and Mandelbrot's law of word frequencies: P(rank r) proportional to 1 / (r + q)^s for
// r = 1..V. Token id = rank - 1. s = 0 is the uniform law.
class ZipfMandelbrot {
 public:
  // Throws Error(invalid_input) unless V >= 1, s >= 0 and q > -1, all finite.
  ZipfMandelbrot(std::int64_t vocab, double s, double q);

  // The id at place `index` of the endless text that `seed` names.
  std::int64_t token(std::uint64_t seed, std::uint64_t index) const;
  double probability(std::int64_t token) const;
  std::span<const double> cumulative() const { return cumulative_; }  // [V], ends at 1

 private:
  std::vector<double> cumulative_;  // [V], ends at 1
};

// The byte-level tokenizer: each byte of an UTF-8 text is one token, its id the byte's value.
// Refuses, with the place, text that is no text and a byte outside [0, vocab).
std::vector<std::int64_t> byte_tokens(const Source& text, std::int64_t vocab);

// Counts of token ids, [vocab]: a text of lines "id count", ids in any order, each once; ids that
// have no line never occur. Refuses, with the place, an id outside [0, vocab) or named twice, a
// negative count, a line of another form, and a text whose counts are all 0 or sum beyond 2^53.
std::vector<std::int64_t> parse_token_histogram(const Source& source, std::int64_t vocab);

// Token ids from a text of integers. Refuses, with the place, an id outside [0, vocab).
std::vector<std::int64_t> parse_token_ids(const Source& source, std::int64_t vocab);

}  // namespace meshsim
