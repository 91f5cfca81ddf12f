#include "routing/slot_order.hpp"

#include <fmt/format.h>

#include "routing/count_matrix.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

[[noreturn]] void refuse(std::size_t slot, ExpertId id, std::int64_t experts) {
  throw Error(ErrorKind::invalid_input,
              fmt::format("slot {} names expert {} of {}", slot, id, experts),
              fmt::format("expert ids run from 0 to {}", experts - 1));
}

}  // namespace

std::vector<std::int64_t> slots_per_expert(std::span<const ExpertId> ids, std::int64_t experts) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts));
  for (std::size_t s = 0; s < ids.size(); ++s) {
    if (ids[s] < 0 || ids[s] >= experts) refuse(s, ids[s], experts);
    ++counts[static_cast<std::size_t>(ids[s])];
  }
  return counts;
}

RouteMetadata sort_slots(std::span<const ExpertId> ids, std::int64_t experts, std::int64_t roll) {
  const std::vector<std::int64_t> counts = slots_per_expert(ids, experts);
  const auto rolled = [&](std::int64_t id) { return id < roll ? id - roll + experts : id - roll; };

  RouteMetadata result;
  result.group_sizes.resize(counts.size());
  for (std::int64_t e = 0; e < experts; ++e)
    result.group_sizes[static_cast<std::size_t>(rolled(e))] = counts[static_cast<std::size_t>(e)];
  std::vector<std::int64_t> next = exclusive_prefix_sums(result.group_sizes);
  result.order.resize(ids.size());
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const auto row = static_cast<std::size_t>(next[static_cast<std::size_t>(rolled(ids[s]))]++);
    result.order[row] = static_cast<Slot>(s);
  }
  return result;
}

std::vector<Slot> inverse_of(std::span<const Slot> order) {
  std::vector<Slot> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<std::size_t>(order[i])] = static_cast<Slot>(i);
  return inverse;
}

std::vector<ExpertId> labels_of(std::span<const std::int64_t> group_sizes) {
  std::vector<ExpertId> labels;
  for (std::size_t e = 0; e < group_sizes.size(); ++e)
    labels.insert(labels.end(), static_cast<std::size_t>(group_sizes[e]), static_cast<ExpertId>(e));
  return labels;
}

}  // namespace meshsim
