#include "sim/timeline.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace meshsim {

void TimeParts::add(const Leaf& leaf, const std::string& cause, Picoseconds time) {
  if (time.value() == 0) return;
  for (TimePart& part : parts_) {
    if (part.pass == leaf.pass && part.cause == cause && part.layer_kind == leaf.layer_kind) {
      part.time += time;
      return;
    }
  }
  parts_.push_back({leaf.layer_kind, leaf.pass, cause, time});
}

std::vector<TimePart> TimeParts::take() {
  std::sort(parts_.begin(), parts_.end(), [](const TimePart& a, const TimePart& b) {
    return std::tie(a.layer_kind, a.pass, a.cause) < std::tie(b.layer_kind, b.pass, b.cause);
  });
  return std::move(parts_);
}

std::string exposed_cause(const Leaf& transfer) {
  if (std::holds_alternative<HostCopy>(transfer.work)) return "exposed:host";
  std::string cause = "exposed:";
  const auto& axes = std::get<Collective>(transfer.work).mesh_axes;
  for (std::size_t i = 0; i < axes.size(); ++i) cause += (i == 0 ? "" : "+") + axes[i];
  return cause;
}

}  // namespace meshsim
