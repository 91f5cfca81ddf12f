// Where token ids come from: a law, a text, or a file of ids.
#pragma once

#include <cstdint>
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

 private:
  std::vector<double> cumulative_;  // [V], ends at 1
};

// The byte-level tokenizer: each byte of an UTF-8 text is one token, its id the byte's value.
std::vector<std::int64_t> byte_tokens(const Source& text);

// Token ids from a text of integers. Refuses, with the place, an id outside [0, vocab).
std::vector<std::int64_t> parse_token_ids(const Source& source, std::int64_t vocab);

}  // namespace meshsim
