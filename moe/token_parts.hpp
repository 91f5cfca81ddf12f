// The tokens that go together in one exchange, where a schedule splits them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "moe/expert_exchange.hpp"

namespace meshsim {

// The tokens of each part of a schedule, empty if all go at once: chunk c of every sequence, or
// microbatch m = tokens m, m + 2, m + 4, ...
std::vector<std::vector<std::int64_t>> parts_of(const MoeConfig& config, std::int64_t tokens);

// What routing decided for some of the tokens.
RouteOutput chosen_tokens(const RouteOutput& all, std::int64_t top_k,
                          std::span<const std::int64_t> tokens);

template <class T>
Tensor<T> chosen_rows(const Tensor<T>& x, std::span<const std::int64_t> tokens) {
  if (x.shape().size() == 1) return {};  // no tensor: hash layers have no gate tables
  Tensor<T> subset({static_cast<std::int64_t>(tokens.size()), x.width()});
  for (std::size_t i = 0; i < tokens.size(); ++i)
    std::copy_n(x.row(tokens[i]), x.width(), subset.row(static_cast<std::int64_t>(i)));
  return subset;
}

// Row t of the subset to row tokens[t] of `all`.
template <class T>
void put_rows(const Tensor<T>& subset, std::span<const std::int64_t> tokens, Tensor<T>& all) {
  for (std::size_t i = 0; i < tokens.size(); ++i)
    std::copy_n(subset.row(static_cast<std::int64_t>(i)), all.width(), all.row(tokens[i]));
}

template <class T>
void scale_rows(Tensor<T>& rows, std::span<const float> scale) {
  for (std::size_t i = 0; i < scale.size(); ++i) {
    T* const row = rows.row(static_cast<std::int64_t>(i));
    for (std::int64_t c = 0; c < rows.width(); ++c)
      row[c] = from_float<T>(to_float(row[c]) * scale[i]);
  }
}

}  // namespace meshsim
