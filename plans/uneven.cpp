#include "plans/uneven.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace meshsim {
std::int64_t nearest_degree(std::int64_t size, std::int64_t parts) {
  std::int64_t degree = std::min(size, parts);
  while (size % degree != 0) --degree;
  return degree;
}

void Uneven::add(const StateBuffer& buffer, std::size_t dimension) {
  for (Entry& entry : entries_) {
    if (entry.size() == buffer.shape[dimension] && entry.axes() == buffer.sharding[dimension]) {
      entry.arrays.insert(buffer.name);
      return;
    }
  }
  entries_.push_back({buffer, dimension, {buffer.name}});
}

void Uneven::throw_if_any(const Plan& plan) const {
  Diagnostics faults;
  for (const Entry& entry : entries_) {
    const std::string key = degree_key("ici", entry.axes().front());
    const std::int64_t parts = shards(plan.mesh, entry.axes());
    const std::size_t others = entry.arrays.size() - 1;
    faults.add({plan.config.at(key).value.where, key,
                fmt::format("{} = {} does not divide dimension {} of {} [{}]{} [uneven-parameter]",
                            fmt::join(entry.axes(), " x "), parts, entry.dimension,
                            entry.first.name, fmt::join(entry.first.shape, ","),
                            others == 0 ? ""
                                        : fmt::format(", nor of {} more array{}", others,
                                                      others == 1 ? "" : "s")),
                fmt::format("degrees whose product divides {}: at most {}{}", entry.size(),
                            nearest_degree(entry.size(), parts),
                            entry.size() == 1 ? "; or a rule that leaves it whole, as "
                                                "logical_axis_rules=[[kv_heads, null]] does for "
                                                "keys that all heads share"
                                              : "")});
  }
  faults.throw_if_any();
}

}  // namespace meshsim
