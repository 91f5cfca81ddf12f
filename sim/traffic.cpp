#include "sim/traffic.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace meshsim {

std::vector<CollectiveTraffic> traffic(const StepProgram& program) {
  std::vector<CollectiveTraffic> all;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work == nullptr) return;
    const std::string axes = fmt::format("{}", fmt::join(work->mesh_axes, "+"));
    auto at = std::find_if(all.begin(), all.end(), [&](const CollectiveTraffic& one) {
      return one.name == leaf.name && one.mesh_axis == axes && one.kind == work->kind;
    });
    if (at == all.end()) at = all.insert(all.end(), {leaf.name, axes, work->kind, 0, {}, {}});
    at->count += times;
    at->payload += work->payload * times;
    at->sent += work->sent() * times;
  });
  return all;
}

}  // namespace meshsim
