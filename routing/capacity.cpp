#include "routing/capacity.hpp"

#include <algorithm>

#include "units/checked.hpp"

namespace meshsim {

std::int64_t expert_capacity(std::int64_t sequence, std::int64_t top_k, std::int64_t experts,
                             double factor) {
  const auto even_share = static_cast<double>(ceil_div(sequence * top_k, experts));
  return static_cast<std::int64_t>(std::max(even_share * factor, factor));
}

std::vector<std::int64_t> capacity_ranks(std::span<const ExpertId> ids, std::int64_t experts,
                                         std::int64_t slots_per_sequence) {
  std::vector<std::int64_t> ranks(ids.size());
  std::vector<std::int64_t> served;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    if (static_cast<std::int64_t>(s) % slots_per_sequence == 0)
      served.assign(static_cast<std::size_t>(experts), 0);
    ranks[s] = served[static_cast<std::size_t>(ids[s])]++;
  }
  return ranks;
}

}  // namespace meshsim
