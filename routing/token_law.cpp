#include "routing/token_law.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "routing/integer_lines.hpp"
#include "routing/random.hpp"
#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {

ZipfMandelbrot::ZipfMandelbrot(std::int64_t vocab, double s, double q) {
  if (vocab < 1 || !(s >= 0) || !(q > -1) || !std::isfinite(s) || !std::isfinite(q))
    throw Error(ErrorKind::invalid_input,
                "a Zipf-Mandelbrot law needs a vocabulary, s >= 0 and q > -1");
  cumulative_.reserve(static_cast<std::size_t>(vocab));
  double sum = 0;
  for (std::int64_t rank = 1; rank <= vocab; ++rank)
    cumulative_.push_back(sum += std::pow(static_cast<double>(rank) + q, -s));
  for (double& value : cumulative_) value /= sum;
}

std::int64_t ZipfMandelbrot::token(std::uint64_t seed, std::uint64_t index) const {
  const double u = random_unit(seed, index);
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, u);
  return found - cumulative_.begin();
}

double ZipfMandelbrot::probability(std::int64_t token) const {
  const auto i = static_cast<std::size_t>(token);
  return cumulative_[i] - (i == 0 ? 0.0 : cumulative_[i - 1]);
}

std::vector<std::int64_t> byte_tokens(const Source& text, std::int64_t vocab) {
  check_text(text);
  std::vector<std::int64_t> tokens;
  tokens.reserve(text.text.size());
  int line = 1, column = 1;
  for (const char c : text.text) {
    const auto id = static_cast<unsigned char>(c);
    if (id >= vocab)
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{{text.name, line, column},
                             {},
                             fmt::format("the byte {} is outside the vocabulary of {}", id, vocab),
                             {}});
    tokens.push_back(id);
    column = c == '\n' ? 1 : column + 1;
    line += c == '\n' ? 1 : 0;
  }
  return tokens;
}

std::vector<std::int64_t> parse_token_histogram(const Source& source, std::int64_t vocab) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(vocab));
  std::vector<bool> named(static_cast<std::size_t>(vocab));
  const auto refuse = [&](int line, std::string what) {
    throw Error(ErrorKind::invalid_input, Diagnostic{{source.name, line, 1}, {}, what, {}});
  };
  std::int64_t sum = 0;
  for_each_line_of_integers(
      source, 0, largest_exact_integer, [&](int line, std::span<const std::int64_t> values) {
        if (values.size() != 2)
          refuse(line, fmt::format("must be \"token-id count\" (got {} numbers)", values.size()));
        if (values[0] >= vocab)
          refuse(line,
                 fmt::format("token id {} is outside the vocabulary of {}", values[0], vocab));
        const auto id = static_cast<std::size_t>(values[0]);
        if (named[id]) refuse(line, fmt::format("names token id {} again", values[0]));
        named[id] = true;
        counts[id] = values[1];
        sum += values[1];
        if (sum > largest_exact_integer) refuse(line, "counts sum to more than 2^53");
      });
  if (sum == 0) refuse(0, "counts no token at all");
  return counts;
}

std::vector<std::int64_t> parse_token_ids(const Source& source, std::int64_t vocab) {
  std::vector<std::int64_t> tokens;
  for_each_line_of_integers(source, 0, vocab - 1, [&](int, std::span<const std::int64_t> ids) {
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  });
  return tokens;
}

}  // namespace meshsim
