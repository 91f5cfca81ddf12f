#include "program/live_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "program/lifetimes.hpp"

namespace meshsim {
namespace {

std::string place(const Leaf& leaf) {
  return fmt::format("{} {} {}", leaf.layer_kind.text(), name(leaf.pass), leaf.name.text());
}

// Live bytes at every leaf, by differences.
std::vector<Bytes> live_bytes(const StepProgram& program, const Lifetimes& lifetimes) {
  std::vector<std::int64_t> change(lifetimes.leaves().size() + 1, 0);
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    change[static_cast<std::size_t>(range.first)] += program.buffers[id].bytes.value();
    change[static_cast<std::size_t>(range.last) + 1] -= program.buffers[id].bytes.value();
  }
  std::vector<Bytes> live;
  Bytes now;
  for (std::size_t i = 0; i < lifetimes.leaves().size(); ++i)
    live.push_back(now += Bytes(change[i]));
  return live;
}

}  // namespace

MemoryPeak memory_peak(const StepProgram& program) {
  const Lifetimes lifetimes(program);
  const std::vector<Bytes> live = live_bytes(program, lifetimes);
  MemoryPeak peak;
  if (live.empty()) return peak;
  const auto at = std::max_element(live.begin(), live.end());
  const int index = static_cast<int>(at - live.begin());
  peak.temp = *at;
  peak.at = place(*lifetimes.leaves()[static_cast<std::size_t>(index)]);
  std::map<std::string, Bytes> categories;
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.contains(index)) continue;
    categories[program.buffers[id].category] += program.buffers[id].bytes;
    peak.largest.push_back(program.buffers[id]);
  }
  peak.categories.assign(categories.begin(), categories.end());
  std::stable_sort(peak.largest.begin(), peak.largest.end(),
                   [](const Buffer& a, const Buffer& b) { return a.bytes > b.bytes; });
  return peak;
}

Bytes roomy_temp(const StepProgram& program) {
  const std::vector<Bytes> live = live_bytes(program, Lifetimes(program, Spares::kept));
  return live.empty() ? Bytes() : *std::max_element(live.begin(), live.end());
}

std::vector<MemoryPoint> live_memory(const StepProgram& program) {
  const Lifetimes lifetimes(program);
  const std::vector<Bytes> live = live_bytes(program, lifetimes);
  std::vector<MemoryPoint> points;
  for (std::size_t i = 0; i < live.size(); ++i)
    points.push_back({place(*lifetimes.leaves()[i]), live[i]});
  return points;
}

}  // namespace meshsim
