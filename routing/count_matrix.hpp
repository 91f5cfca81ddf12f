// A table of counts: rows that went from i to j.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace meshsim {

struct CountMatrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<std::int64_t> counts;  // [rows, columns], row-major

  CountMatrix() = default;
  CountMatrix(std::int64_t rows, std::int64_t columns);

  std::int64_t& at(std::int64_t i, std::int64_t j) { return counts[index(i, j)]; }
  std::int64_t at(std::int64_t i, std::int64_t j) const { return counts[index(i, j)]; }
  std::span<const std::int64_t> row(std::int64_t i) const;
  std::vector<std::int64_t> column(std::int64_t j) const;
  std::int64_t row_sum(std::int64_t i) const;
  std::int64_t column_sum(std::int64_t j) const;

  bool operator==(const CountMatrix&) const = default;

 private:
  std::size_t index(std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(i * columns + j);
  }
};

CountMatrix transposed(const CountMatrix& matrix);

// Slots per expert [P, E] -> slots per expert shard [P, P]: shard j owns the experts
// [j E/P, (j+1) E/P). Throws Error(invalid_input) if `shards` does not divide E.
CountMatrix per_shard(const CountMatrix& per_expert, std::int64_t shards);

// C(.) of the reference: sums of all earlier entries.
std::vector<std::int64_t> exclusive_prefix_sums(std::span<const std::int64_t> values);

}  // namespace meshsim
