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

void Timeline::add_imbalance(std::int32_t exchange, Picoseconds time) {
  if (exchange < 0 || time.value() == 0) return;
  const auto at = static_cast<std::size_t>(exchange);
  if (imbalance.size() <= at) imbalance.resize(at + 1);
  imbalance[at] += time;
}

std::string_view core_cause_name(std::size_t cause) {
  return cause == core_cause_count ? "memory_bound" : name(static_cast<CoreCause>(cause));
}

void TimeParts::Row::add(std::string_view cause, Picoseconds time) {
  if (time.value() == 0) return;
  for (auto& [known, sum] : others) {
    if (known != cause) continue;
    sum += time;
    return;
  }
  others.emplace_back(cause, time);
}

TimeParts::Row& TimeParts::row(const std::string& layer_kind, Pass pass) {
  const auto is_it = [&](const Row& one) {
    return one.pass == pass && one.layer_kind == layer_kind;
  };
  if (latest_ < rows_.size() && is_it(rows_[latest_])) return rows_[latest_];
  const auto known = std::find_if(rows_.begin(), rows_.end(), is_it);
  latest_ = static_cast<std::size_t>(known - rows_.begin());
  if (known == rows_.end()) rows_.push_back({layer_kind, pass, {}, {}});
  return rows_[latest_];
}

void TimeParts::add(const TimePart& part, std::int64_t times) {
  row(part.layer_kind, part.pass).add(part.cause, part.time * times);
}

void TimeParts::add_contention(const Leaf& leaf, Picoseconds time, std::int64_t times) {
  row(leaf.layer_kind, leaf.pass).add("contention", time * times);
}

Picoseconds TimeParts::add_alone(const Leaf& leaf, const Price& price, Picoseconds time,
                                 std::int64_t times) {
  Row& sums = row(leaf.layer_kind, leaf.pass);
  if (leaf.idle) {
    sums.add("bubble", time * times);
    return {};
  }
  Picoseconds waited;
  if (price.imbalance.value() > 0) {
    const double share = price.imbalance / price.duration;
    waited = Picoseconds(std::llround(share * static_cast<double>(time.value())));
    sums.add("imbalance", waited * times);
    time = time - waited;
  }
  if (!std::holds_alternative<Compute>(leaf.work)) {
    if (time.value() != 0) sums.add(transfer_cause(leaf), time * times);
    return waited;
  }
  split_core_time(price, time,
                  [&](std::size_t cause, Picoseconds part) { sums.core[cause] += part * times; });
  return waited;
}

std::vector<TimePart> TimeParts::take() {
  std::vector<TimePart> parts;
  for (Row& sums : rows_) {
    for (auto& [cause, time] : sums.others) {
      const auto core =
          std::find_if(sums.core.begin(), sums.core.end(), [&](const Picoseconds& one) {
            return core_cause_name(static_cast<std::size_t>(&one - sums.core.data())) == cause;
          });
      if (core == sums.core.end()) {
        parts.push_back({sums.layer_kind, sums.pass, std::move(cause), time});
      } else {
        *core += time;
      }
    }
    for (std::size_t cause = 0; cause < sums.core.size(); ++cause) {
      if (sums.core[cause].value() == 0) continue;
      parts.push_back(
          {sums.layer_kind, sums.pass, std::string(core_cause_name(cause)), sums.core[cause]});
    }
  }
  rows_.clear();
  std::sort(parts.begin(), parts.end(), [](const TimePart& a, const TimePart& b) {
    return std::tie(a.layer_kind, a.pass, a.cause) < std::tie(b.layer_kind, b.pass, b.cause);
  });
  return parts;
}

}  // namespace meshsim
