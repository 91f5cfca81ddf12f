#include "routing/all_to_all.hpp"

#include <algorithm>
#include <cmath>

#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Rows of earlier ranks that stand before rank p's block in each column.
std::vector<std::int64_t> rows_above(const CountMatrix& m, std::int64_t p) {
  std::vector<std::int64_t> above(static_cast<std::size_t>(m.columns));
  for (std::int64_t i = 0; i < p; ++i)
    for (std::int64_t j = 0; j < m.columns; ++j) above[static_cast<std::size_t>(j)] += m.at(i, j);
  return above;
}

std::vector<std::int64_t> copied(std::span<const std::int64_t> values) {
  return {values.begin(), values.end()};
}

}  // namespace

AllToAllParameters dispatch_parameters(const CountMatrix& m, const CountMatrix& truncated,
                                       std::int64_t p) {
  return {exclusive_prefix_sums(m.row(p)), copied(truncated.row(p)), rows_above(truncated, p),
          truncated.column(p)};
}

AllToAllParameters combine_parameters(const CountMatrix& m, const CountMatrix& truncated,
                                      std::int64_t p) {
  const CountMatrix back = transposed(truncated);
  return {exclusive_prefix_sums(back.row(p)), copied(back.row(p)), rows_above(transposed(m), p),
          back.column(p)};
}

AllToAllParameters combine_parameters_unsharded(std::span<const std::int64_t> g, std::int64_t p) {
  const std::size_t ranks = g.size();
  const std::int64_t start = exclusive_prefix_sums(g)[static_cast<std::size_t>(p)];
  return {std::vector<std::int64_t>(ranks, 0),
          std::vector<std::int64_t>(ranks, g[static_cast<std::size_t>(p)]),
          std::vector<std::int64_t>(ranks, start), copied(g)};
}

CountMatrix truncated_to(const CountMatrix& m, std::int64_t buffer_rows) {
  CountMatrix kept(m.rows, m.columns);
  for (std::int64_t j = 0; j < m.columns; ++j) {
    std::int64_t offered = 0;
    for (std::int64_t i = 0; i < m.rows; ++i) {
      const std::int64_t before = std::min(offered, buffer_rows);
      offered += m.at(i, j);
      kept.at(i, j) = std::min(offered, buffer_rows) - before;
    }
  }
  return kept;
}

std::int64_t receive_buffer_rows(std::int64_t local_slots, std::int64_t ranks, std::int64_t experts,
                                 std::int64_t top_k, double factor) {
  if (top_k < 1 || top_k > experts)
    throw Error(ErrorKind::invalid_input, "top_k must lie between 1 and the number of experts");
  const double ratio = factor > 0
                           ? factor
                           : std::min(static_cast<double>(ranks),
                                      static_cast<double>(experts) / static_cast<double>(top_k));
  const double rows = static_cast<double>(local_slots) * ratio;
  if (!(rows < 9e18)) throw Error(ErrorKind::invalid_input, "the receive buffer is too large");
  return static_cast<std::int64_t>(rows);  // int(): truncated
}

}  // namespace meshsim
