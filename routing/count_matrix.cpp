#include "routing/count_matrix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "units/error.hpp"

namespace meshsim {

CountMatrix::CountMatrix(std::int64_t row_count, std::int64_t column_count)
    : rows(row_count),
      columns(column_count),
      counts(static_cast<std::size_t>(row_count * column_count)) {}

std::span<const std::int64_t> CountMatrix::row(std::int64_t i) const {
  return std::span(counts).subspan(static_cast<std::size_t>(i * columns),
                                   static_cast<std::size_t>(columns));
}

std::vector<std::int64_t> CountMatrix::column(std::int64_t j) const {
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) values.push_back(at(i, j));
  return values;
}

std::int64_t CountMatrix::row_sum(std::int64_t i) const {
  const auto values = row(i);
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

std::int64_t CountMatrix::column_sum(std::int64_t j) const {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < rows; ++i) sum += at(i, j);
  return sum;
}

CountMatrix transposed(const CountMatrix& matrix) {
  CountMatrix result(matrix.columns, matrix.rows);
  constexpr std::int64_t block = 8;  // counts of a cache line
  for (std::int64_t i = 0; i < matrix.rows; i += block)
    for (std::int64_t j = 0; j < matrix.columns; j += block)
      for (std::int64_t in = i; in < std::min(i + block, matrix.rows); ++in)
        for (std::int64_t jn = j; jn < std::min(j + block, matrix.columns); ++jn)
          result.at(jn, in) = matrix.at(in, jn);
  return result;
}

CountMatrix per_shard(const CountMatrix& per_expert, std::int64_t shards) {
  if (shards < 1 || per_expert.columns % shards != 0)
    throw Error(ErrorKind::invalid_input,
                fmt::format("{} experts do not divide over {} shards", per_expert.columns, shards));
  const std::int64_t local = per_expert.columns / shards;
  CountMatrix result(per_expert.rows, shards);
  auto slots = per_expert.counts.begin();
  for (std::int64_t& shard : result.counts) {
    shard = std::accumulate(slots, slots + local, std::int64_t{0});
    slots += local;
  }
  return result;
}

std::vector<std::int64_t> exclusive_prefix_sums(std::span<const std::int64_t> values) {
  std::vector<std::int64_t> sums(values.size());
  std::exclusive_scan(values.begin(), values.end(), sums.begin(), std::int64_t{0});
  return sums;
}

}  // namespace meshsim
