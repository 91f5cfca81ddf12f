#include "routing/local_permute.hpp"

#include <algorithm>

namespace meshsim {
namespace {

LocalPermute sorted_by(const std::vector<ExpertId>& labels, std::int64_t label_count) {
  RouteMetadata sorted = sort_slots(labels, label_count);
  LocalPermute result;
  result.labels = labels_of(sorted.group_sizes);
  result.order = std::move(sorted.order);
  return result;
}

}  // namespace

LocalPermute local_permute_received(const CountMatrix& counts, std::int64_t shard,
                                    std::int64_t local_experts, std::int64_t buffer_rows) {
  std::vector<ExpertId> labels;  // [R], in the order of arrival
  labels.reserve(static_cast<std::size_t>(buffer_rows));
  std::vector<std::int64_t> group_sizes(static_cast<std::size_t>(local_experts));
  for (std::int64_t source = 0; source < counts.rows; ++source) {
    for (std::int64_t e = 0; e < local_experts; ++e) {
      const std::int64_t room = buffer_rows - static_cast<std::int64_t>(labels.size());
      const std::int64_t rows = std::min(counts.at(source, shard * local_experts + e), room);
      labels.insert(labels.end(), static_cast<std::size_t>(rows), static_cast<ExpertId>(e));
      group_sizes[static_cast<std::size_t>(e)] += rows;
    }
  }
  labels.resize(static_cast<std::size_t>(buffer_rows), static_cast<ExpertId>(local_experts - 1));
  LocalPermute result = sorted_by(labels, local_experts);
  result.group_sizes = std::move(group_sizes);
  return result;
}

LocalPermute local_permute_offset(std::span<const ExpertId> experts, std::int64_t shard,
                                  std::int64_t local_experts) {
  std::vector<ExpertId> labels(experts.size());
  std::vector<std::int64_t> group_sizes(static_cast<std::size_t>(local_experts));
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const bool mine = experts[i] / local_experts == shard;
    labels[i] = static_cast<ExpertId>(mine ? experts[i] % local_experts : local_experts);
    if (mine) ++group_sizes[static_cast<std::size_t>(labels[i])];
  }
  LocalPermute result = sorted_by(labels, local_experts + 1);
  result.group_sizes = std::move(group_sizes);
  return result;
}

}  // namespace meshsim
