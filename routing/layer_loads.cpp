#include "routing/layer_loads.hpp"

#include <algorithm>
#include <numeric>

namespace meshsim {

std::vector<std::int64_t> received_rows(const CountMatrix& exchange) {
  return expert_slots(exchange);
}

std::vector<std::int64_t> expert_slots(const CountMatrix& slots) {
  std::vector<std::int64_t> sums(static_cast<std::size_t>(slots.columns));
  for (std::int64_t i = 0; i < slots.rows; ++i) {
    const std::span<const std::int64_t> row = slots.row(i);
    for (std::size_t j = 0; j < row.size(); ++j) sums[j] += row[j];
  }
  return sums;
}

double skew(std::span<const std::int64_t> loads) {
  const std::int64_t sum = std::accumulate(loads.begin(), loads.end(), std::int64_t{0});
  if (sum == 0) return 1;
  return static_cast<double>(*std::max_element(loads.begin(), loads.end())) *
         static_cast<double>(loads.size()) / static_cast<double>(sum);
}

std::vector<std::int64_t> local_group_sizes(const CountMatrix& slots, std::int64_t ranks,
                                            std::int64_t p, std::int64_t buffer_rows, Cut cut) {
  const std::int64_t local = slots.columns / ranks;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(local));
  std::int64_t offered = 0;
  const auto take = [&](std::int64_t source, std::int64_t expert) {
    const std::int64_t rows = slots.at(source, p * local + expert);
    const std::int64_t room =
        buffer_rows < 0 ? rows : std::clamp<std::int64_t>(buffer_rows - offered, 0, rows);
    sizes[static_cast<std::size_t>(expert)] += room;
    offered += rows;
  };
  if (cut == Cut::by_source) {
    for (std::int64_t i = 0; i < slots.rows; ++i)
      for (std::int64_t e = 0; e < local; ++e) take(i, e);
  } else {
    for (std::int64_t e = 0; e < local; ++e)
      for (std::int64_t i = 0; i < slots.rows; ++i) take(i, e);
  }
  return sizes;
}

std::int64_t truncation_drops(const CountMatrix& exchange, std::int64_t buffer_rows) {
  if (buffer_rows < 0) return 0;
  std::int64_t dropped = 0;
  for (const std::int64_t rows : received_rows(exchange))
    dropped += std::max<std::int64_t>(0, rows - buffer_rows);
  return dropped;
}

std::int64_t capacity_drops(const CountMatrix& slots, std::int64_t capacity) {
  std::int64_t dropped = 0;
  for (const std::int64_t count : slots.counts)
    dropped += std::max<std::int64_t>(0, count - capacity);
  return dropped;
}

}  // namespace meshsim
