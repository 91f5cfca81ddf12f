#include "program/memory_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "program/lifetimes.hpp"
#include "units/checked.hpp"
#include "units/interned.hpp"

namespace meshsim {

namespace {

// A sum that notices when it leaves 64 bits, and says so at its end: the common case is one
// multiplication and one addition.
class Sum {
 public:
  void add(const AmountTerm& term, std::span<const std::int64_t> numbers) {
    std::int64_t product = 0;
    lost_ |= __builtin_mul_overflow(numbers[static_cast<std::size_t>(term.number)], term.times,
                                    &product);
    lost_ |= __builtin_add_overflow(value_, product, &value_);
  }
  std::int64_t value() const { return value_; }
  bool lost() const { return lost_; }

 private:
  std::int64_t value_ = 0;
  bool lost_ = false;
};

// As checked arithmetic says it.
void check(bool lost) {
  if (lost) static_cast<void>(checked_add(INT64_MAX, 1, "bytes"));
}

}  // namespace

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
  peak.temp = Bytes();
  peak.categories.clear();
  Sum live;
  std::int64_t most = 0;
  int at = -1;
  for (std::size_t i = 0; i + 1 < begin_.size(); ++i) {
    for (std::uint32_t c = begin_[i]; c < begin_[i + 1]; ++c) live.add(changes_[c], numbers);
    if (at < 0 || live.value() > most) {
      most = live.value();
      at = static_cast<int>(i);
    }
  }
  check(live.lost());
  if (at < 0) return;
  peak.temp = Bytes(most);
  std::vector<std::pair<bool, Sum>> sums(categories_.size());  // whether anything of it lives
  for (const Use& use : uses_) {
    if (use.first > at || use.last < at) continue;
    auto& [lives, sum] = sums[use.category];
    lives = true;
    for (std::uint32_t t = use.begin; t < use.end; ++t) sum.add(terms_[t], numbers);
  }
  for (std::size_t c = 0; c < sums.size(); ++c) {
    const auto& [lives, sum] = sums[c];
    check(sum.lost());
    if (lives) peak.categories.emplace_back(categories_[c], Bytes(sum.value()));
  }
}

}  // namespace meshsim
