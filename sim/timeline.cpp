#include "sim/timeline.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace meshsim {

std::string transfer_cause(const Leaf& leaf) {
  if (std::holds_alternative<HostCopy>(leaf.work)) return "exposed:host";
  std::string cause = "exposed:";
  const auto& axes = std::get<Collective>(leaf.work).mesh_axes;
  for (std::size_t i = 0; i < axes.size(); ++i) cause += (i == 0 ? "" : "+") + axes[i];
  return cause;
}

std::string_view core_cause_name(std::size_t cause) {
  return cause == core_cause_count ? "memory_bound" : name(static_cast<CoreCause>(cause));
}

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

Picoseconds TimeParts::add_alone(const Leaf& leaf, const Price& price, Picoseconds time,
                                 std::int64_t times) {
  if (leaf.idle) {
    add({leaf.layer_kind, leaf.pass, "bubble", time}, times);
    return {};
  }
  Picoseconds waited;
  if (price.imbalance.value() > 0) {
    const double share = price.imbalance / price.duration;
    waited = Picoseconds(std::llround(share * static_cast<double>(time.value())));
    add({leaf.layer_kind, leaf.pass, "imbalance", waited}, times);
    time = time - waited;
  }
  if (!std::holds_alternative<Compute>(leaf.work)) {
    add({leaf.layer_kind, leaf.pass, transfer_cause(leaf), time}, times);
    return waited;
  }
  split_core_time(price, time, [&](std::size_t cause, Picoseconds part) {
    add({leaf.layer_kind, leaf.pass, std::string(core_cause_name(cause)), part}, times);
  });
  return waited;
}

std::vector<TimePart> TimeParts::take() {
  std::sort(parts_.begin(), parts_.end(), [](const TimePart& a, const TimePart& b) {
    return std::tie(a.layer_kind, a.pass, a.cause) < std::tie(b.layer_kind, b.pass, b.cause);
  });
  return std::move(parts_);
}

}  // namespace meshsim
