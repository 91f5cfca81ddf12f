#include "program/memory_plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "program/lifetimes.hpp"
#include "units/checked.hpp"
#include "units/interned.hpp"

namespace meshsim {

MemoryPlan::MemoryPlan(const StepProgram& program) {
  const Lifetimes lifetimes(program);
  std::set<std::string_view> categories;
  for (const Buffer& buffer : program.buffers) categories.insert(interned(buffer.category));
  categories_.assign(categories.begin(), categories.end());
  std::vector<std::map<NumberId, std::int64_t>> changes(lifetimes.leaves().size() + 1);
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    const Buffer& buffer = program.buffers[id];
    const auto category = std::lower_bound(categories_.begin(), categories_.end(), buffer.category);
    const auto begin = static_cast<std::uint32_t>(terms_.size());
    for (const AmountTerm& term : buffer.terms) {
      terms_.push_back(term);
      changes[static_cast<std::size_t>(range.first)][term.number] += term.times;
      changes[static_cast<std::size_t>(range.last) + 1][term.number] -= term.times;
    }
    uses_.push_back({range.first, range.last,
                     static_cast<std::uint32_t>(category - categories_.begin()), begin,
                     static_cast<std::uint32_t>(terms_.size())});
  }
  begin_.push_back(0);
  for (std::size_t i = 0; i < lifetimes.leaves().size(); ++i) {
    for (const auto& [number, times] : changes[i]) {
      if (times != 0) changes_.push_back({number, times});
    }
    begin_.push_back(static_cast<std::uint32_t>(changes_.size()));
  }
}

void MemoryPlan::peak(std::span<const std::int64_t> numbers, Peak& peak) const {
  const auto value = [&](const AmountTerm& term) {
    return checked_multiply(numbers[static_cast<std::size_t>(term.number)], term.times, "bytes");
  };
  peak.temp = Bytes();
  peak.categories.clear();
  std::int64_t live = 0;
  std::int64_t most = 0;
  int at = -1;
  for (std::size_t i = 0; i + 1 < begin_.size(); ++i) {
    for (std::uint32_t c = begin_[i]; c < begin_[i + 1]; ++c)
      live = checked_add(live, value(changes_[c]), "bytes");
    if (at < 0 || live > most) {
      most = live;
      at = static_cast<int>(i);
    }
  }
  if (at < 0) return;
  peak.temp = Bytes(most);
  std::vector<std::int64_t> sums(categories_.size(), -1);  // -1: nothing of it lives
  for (const Use& use : uses_) {
    if (use.first > at || use.last < at) continue;
    std::int64_t& sum = sums[use.category];
    sum = std::max<std::int64_t>(sum, 0);
    for (std::uint32_t t = use.begin; t < use.end; ++t)
      sum = checked_add(sum, value(terms_[t]), "bytes");
  }
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (sums[c] >= 0) peak.categories.emplace_back(categories_[c], Bytes(sums[c]));
  }
}

}  // namespace meshsim
