#include "routing/exchange_load.hpp"

#include <algorithm>
#include <numeric>

#include "routing/all_to_all.hpp"

namespace meshsim {
namespace {

// Ends of groups that fall inside a tile cost a tile each: with equal rows, whoever has more groups
// with rows has more of them.
std::int64_t used_groups(const std::vector<std::int64_t>& groups) {
  return std::count_if(groups.begin(), groups.end(), [](std::int64_t rows) { return rows > 0; });
}

}  // namespace

ExchangeLoad exchange_load(const CountMatrix& slots, std::int64_t buffer_rows, Cut cut) {
  const std::int64_t ranks = slots.rows;
  const CountMatrix wanted = per_shard(slots, ranks);
  const std::vector<std::int64_t> loads = received_rows(wanted);
  // A buffer in which all rows find a place is as good as one without end.
  if (*std::max_element(loads.begin(), loads.end()) <= buffer_rows) buffer_rows = -1;
  ExchangeLoad load;
  load.sent = buffer_rows < 0 ? wanted : truncated_to(wanted, buffer_rows);
  load.rows = received_rows(load.sent);
  load.slots = std::accumulate(loads.begin(), loads.end(), std::int64_t{0});
  load.dropped = truncation_drops(wanted, buffer_rows);
  load.skew = skew(loads);
  const std::vector<std::int64_t> all =
      buffer_rows < 0 ? expert_slots(slots) : std::vector<std::int64_t>{};
  const std::int64_t local = slots.columns / ranks;
  std::int64_t most_groups = -1;
  const std::int64_t most = *std::max_element(load.rows.begin(), load.rows.end());
  for (std::int64_t p = 0; p < ranks; ++p) {
    std::vector<std::int64_t> groups =
        buffer_rows < 0 ? std::vector(all.begin() + p * local, all.begin() + (p + 1) * local)
                        : local_group_sizes(slots, ranks, p, buffer_rows, cut);
    load.experts.push_back(used_groups(groups));
    if (load.rows[static_cast<std::size_t>(p)] != most || load.experts.back() <= most_groups)
      continue;
    most_groups = load.experts.back();
    load.straggler = p;
    load.straggler_groups = std::move(groups);
  }
  return load;
}

}  // namespace meshsim
