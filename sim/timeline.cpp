#include "sim/timeline.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace meshsim {

void TimeParts::add(const TimePart& part, std::int64_t times) {
  if (part.time.value() == 0) return;
  for (TimePart& sum : parts_) {
    if (sum.pass == part.pass && sum.cause == part.cause && sum.layer_kind == part.layer_kind) {
      sum.time += part.time * times;
      return;
    }
  }
  parts_.push_back({part.layer_kind, part.pass, part.cause, part.time * times});
}

std::vector<TimePart> TimeParts::take() {
  std::sort(parts_.begin(), parts_.end(), [](const TimePart& a, const TimePart& b) {
    return std::tie(a.layer_kind, a.pass, a.cause) < std::tie(b.layer_kind, b.pass, b.cause);
  });
  return std::move(parts_);
}

std::string cause_alone(const Leaf& leaf, Bound bound) {
  if (std::holds_alternative<Compute>(leaf.work))
    return bound == Bound::compute ? "compute" : "memory_bound";
  if (std::holds_alternative<HostCopy>(leaf.work)) return "exposed:host";
  std::string cause = "exposed:";
  const auto& axes = std::get<Collective>(leaf.work).mesh_axes;
  for (std::size_t i = 0; i < axes.size(); ++i) cause += (i == 0 ? "" : "+") + axes[i];
  return cause;
}

}  // namespace meshsim
