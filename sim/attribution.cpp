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

constexpr std::array<std::string_view, 14> groups{
    "ideal_compute", "mxu_inefficiency", "tile_waste",  "vector_unit", "row_moves",
    "memory_bound",  "contention",       "exposed_ici", "exposed_dcn", "exposed_host",
    "idle_cores",    "bubble",           "imbalance",   "recompute",
};

constexpr std::string_view exposed = "exposed:";

// Whether all of "data+fsdp" are among `axes`.
bool all_among(std::string_view names, const std::vector<std::string>& axes) {
  while (true) {
    const std::size_t plus = names.find('+');
    if (std::find(axes.begin(), axes.end(), names.substr(0, plus)) == axes.end()) return false;
    if (plus == std::string_view::npos) return true;
    names.remove_prefix(plus + 1);
  }
}

std::string_view group_of(std::string_view cause, const std::vector<std::string>& on_dcn) {
  if (cause == "compute") return "ideal_compute";
  if (cause == "softmax" || cause == "grid_steps") return "vector_unit";
  if (cause == "row_gather" || cause == "scatter_add" || cause == "key_sort") return "row_moves";
  if (cause == "exposed:host") return "exposed_host";
  if (cause.starts_with(exposed))
    return all_among(cause.substr(exposed.size()), on_dcn) ? "exposed_dcn" : "exposed_ici";
  const auto* const own = std::find(groups.begin(), groups.end(), cause);
  if (own == groups.end())
    throw Error(ErrorKind::internal, fmt::format("no group holds the cause {}", cause));
  return *own;
}

std::string_view without(std::string_view prefix, std::string_view text) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

Attribution placed(const TimePart& part, const std::vector<std::string>& on_dcn) {
  const bool waits = part.cause == "imbalance" || part.cause == "bubble";
  if (part.pass == Pass::recompute && !waits) return {"recompute", part.cause, part.time};
  return {std::string(group_of(part.cause, on_dcn)), std::string(without(exposed, part.cause)),
          part.time};
}

}  // namespace

std::vector<Attribution> attribution(const Timeline& timeline,
                                     const std::vector<std::string>& on_dcn) {
  std::map<std::pair<std::size_t, std::string>, Attribution> sums;
  for (const TimePart& part : timeline.parts) {
    Attribution one = placed(part, on_dcn);
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
