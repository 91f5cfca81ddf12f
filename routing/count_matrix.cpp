#include "routing/count_matrix.hpp"

#include <fmt/format.h>

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
  for (std::int64_t i = 0; i < matrix.rows; ++i)
    for (std::int64_t j = 0; j < matrix.columns; ++j) result.at(j, i) = matrix.at(i, j);
  return result;
}

CountMatrix per_shard(const CountMatrix& per_expert, std::int64_t shards) {
  if (shards < 1 || per_expert.columns % shards != 0)
    throw Error(ErrorKind::invalid_input,
                fmt::format("{} experts do not divide over {} shards", per_expert.columns, shards));
  const std::int64_t local = per_expert.columns / shards;
  CountMatrix result(per_expert.rows, shards);
  for (std::int64_t i = 0; i < per_expert.rows; ++i)
    for (std::int64_t e = 0; e < per_expert.columns; ++e)
      result.at(i, e / local) += per_expert.at(i, e);
  return result;
}

std::vector<std::int64_t> exclusive_prefix_sums(std::span<const std::int64_t> values) {
  std::vector<std::int64_t> sums(values.size());
  std::exclusive_scan(values.begin(), values.end(), sums.begin(), std::int64_t{0});
  return sums;
}

}  // namespace meshsim
