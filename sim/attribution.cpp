#include "sim/attribution.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::array<std::string_view, 13> groups{
    "ideal_compute", "mxu_inefficiency", "tile_waste",  "vector_unit", "row_moves",
    "memory_bound",  "contention",       "exposed_ici", "exposed_dcn", "exposed_host",
    "bubble",        "imbalance",        "recompute",
};

constexpr std::string_view exposed = "exposed:";
constexpr std::string_view over_dcn = "exposed:dcn:";

std::string_view group_of(std::string_view cause) {
  if (cause == "compute") return "ideal_compute";
  if (cause == "softmax" || cause == "grid_steps") return "vector_unit";
  if (cause == "row_gather" || cause == "scatter_add" || cause == "key_sort") return "row_moves";
  if (cause == "exposed:host") return "exposed_host";
  if (cause.starts_with(over_dcn)) return "exposed_dcn";
  if (cause.starts_with(exposed)) return "exposed_ici";
  const auto* const own = std::find(groups.begin(), groups.end(), cause);
  if (own == groups.end())
    throw Error(ErrorKind::internal, fmt::format("no group holds the cause {}", cause));
  return *own;
}

std::string_view without(std::string_view prefix, std::string_view text) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

Attribution placed(const TimePart& part) {
  const bool waits = part.cause == "imbalance" || part.cause == "bubble";
  if (part.pass == Pass::recompute && !waits) return {"recompute", part.cause, part.time};
  const std::string_view group = group_of(part.cause);
  const std::string_view detail =
      group == "exposed_dcn" ? without(over_dcn, part.cause) : without(exposed, part.cause);
  return {std::string(group), std::string(detail), part.time};
}

}  // namespace

std::vector<Attribution> attribution(const Timeline& timeline) {
  std::map<std::pair<std::size_t, std::string>, Attribution> sums;
  for (const TimePart& part : timeline.parts) {
    Attribution one = placed(part);
    const auto order = static_cast<std::size_t>(std::find(groups.begin(), groups.end(), one.group) -
                                                groups.begin());
    Attribution& sum = sums[{order, one.detail}];
    const Picoseconds time = sum.time + one.time;
    sum = std::move(one);
    sum.time = time;
  }
  std::vector<Attribution> all;
  for (auto& [key, one] : sums) all.push_back(std::move(one));
  return all;
}

}  // namespace meshsim
