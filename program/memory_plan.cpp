#include "program/memory_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <map>

#include "program/lifetimes.hpp"
#include "units/checked.hpp"
#include "units/interned.hpp"

namespace meshsim {

namespace {

// How often each number is live at a leaf.
struct LiveNumbers {
  int leaf = 0;
  double bytes = 0;
  std::vector<std::int64_t> times;  // of the numbers that are not 0
};

// No plan of the layout has its (first) peak at `b`, but at `a` or elsewhere.
bool dominates(const LiveNumbers& a, const LiveNumbers& b) {
  bool more = a.leaf < b.leaf;
  for (std::size_t n = 0; n < a.times.size(); ++n) {
    if (a.times[n] < b.times[n]) return false;
    more = more || a.times[n] > b.times[n];
  }
  return more;
}

class Candidates {
 public:
  Candidates(const StepProgram& program, const Lifetimes& lifetimes,
             std::span<const std::int64_t> numbers)
      : changes_(lifetimes.leaves().size() + 1), place_(numbers.size(), no_number) {
    for (std::size_t n = 0; n < numbers.size(); ++n) {
      if (numbers[n] == 0) continue;
      place_[n] = static_cast<NumberId>(sizes_.size());
      sizes_.push_back(static_cast<double>(numbers[n]));
    }
    for (std::size_t id = 0; id < program.buffers.size(); ++id) {
      const LifeRange& range = lifetimes.ranges()[id];
      if (!range.used()) continue;
      for (const AmountTerm& term : program.buffers[id].terms) {
        change(range.first, term.number, term.times);
        change(range.last + 1, term.number, -term.times);
      }
    }
  }

  // The leaves that no other dominates, in program order.
  std::vector<int> leaves() {
    std::vector<LiveNumbers> all = summits();
    std::stable_sort(all.begin(), all.end(),
                     [](const LiveNumbers& a, const LiveNumbers& b) { return a.bytes > b.bytes; });
    std::vector<const LiveNumbers*> kept;
    for (const LiveNumbers& one : all) {
      if (std::none_of(kept.begin(), kept.end(),
                       [&](const LiveNumbers* other) { return dominates(*other, one); }))
        kept.push_back(&one);
    }
    std::vector<int> leaves;
    for (const LiveNumbers* one : kept) leaves.push_back(one->leaf);
    std::sort(leaves.begin(), leaves.end());
    return leaves;
  }

 private:
  void change(int leaf, NumberId number, std::int64_t times) {
    const NumberId place = place_[static_cast<std::size_t>(number)];
    if (place == no_number) return;
    std::map<NumberId, std::int64_t>& at = changes_[static_cast<std::size_t>(leaf)];
    if ((at[place] += times) == 0) at.erase(place);
  }

  // Leaves that their neighbours do not dominate.
  std::vector<LiveNumbers> summits() const {
    const auto grows = [&](std::size_t leaf) {
      return std::any_of(changes_[leaf].begin(), changes_[leaf].end(),
                         [](const auto& change) { return change.second > 0; });
    };
    const auto shrinks = [&](std::size_t leaf) {
      return std::any_of(changes_[leaf].begin(), changes_[leaf].end(),
                         [](const auto& change) { return change.second < 0; });
    };
    std::vector<LiveNumbers> all;
    LiveNumbers now;
    now.times.assign(sizes_.size(), 0);
    const std::size_t leaves = changes_.size() - 1;
    for (std::size_t i = 0; i < leaves; ++i) {
      now.leaf = static_cast<int>(i);
      for (const auto& [number, times] : changes_[i]) {
        now.times[static_cast<std::size_t>(number)] += times;
        now.bytes += static_cast<double>(times) * sizes_[static_cast<std::size_t>(number)];
      }
      const bool before_dominates = i > 0 && !grows(i);
      const bool next_dominates = i + 1 < leaves && grows(i + 1) && !shrinks(i + 1);
      if (!before_dominates && !next_dominates) all.push_back(now);
    }
    return all;
  }

  std::vector<std::map<NumberId, std::int64_t>> changes_;  // at each leaf, and after the last
  std::vector<NumberId> place_;                            // of each number that is not 0
  std::vector<double> sizes_;
};

// A sum that notices when it leaves 64 bits, and says so at its end: the common case is one
// multiplication and one addition.
class Sum {
 public:
  void add(std::int64_t number, std::int64_t times = 1) {
    std::int64_t product = 0;
    lost_ |= __builtin_mul_overflow(number, times, &product);
    lost_ |= __builtin_add_overflow(value_, product, &value_);
  }
  std::int64_t value() const { return value_; }
  // As checked arithmetic says it.
  void check() const {
    if (lost_) static_cast<void>(checked_add(INT64_MAX, 1, "bytes"));
  }

 private:
  std::int64_t value_ = 0;
  bool lost_ = false;
};

}  // namespace

MemoryPlan::MemoryPlan(const StepProgram& program, std::span<const std::int64_t> numbers,
                       std::span<const NumberId> first) {
  const Lifetimes lifetimes(program);
  const auto place = [&](NumberId number) {
    const auto slot = std::upper_bound(first.begin(), first.end(), number) - first.begin() - 1;
    return std::pair(static_cast<std::uint32_t>(slot),
                     static_cast<std::uint32_t>(number - first[static_cast<std::size_t>(slot)]));
  };
  using Times = std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t>;
  Times before;
  for (const int leaf : Candidates(program, lifetimes, numbers).leaves()) {
    std::map<std::string_view, Times> categories;
    Times all;
    for (std::size_t id = 0; id < program.buffers.size(); ++id) {
      if (!lifetimes.ranges()[id].contains(leaf)) continue;
      const Buffer& buffer = program.buffers[id];
      Times& category = categories[interned(buffer.category)];
      for (const AmountTerm& term : buffer.terms) {
        category[place(term.number)] += term.times;
        all[place(term.number)] += term.times;
      }
    }
    Candidate& candidate = candidates_.emplace_back();
    for (const auto& [category, times] : categories) {
      candidate.categories.emplace_back(category, std::vector<Term>());
      for (const auto& [number, count] : times)
        candidate.categories.back().second.push_back({number.first, number.second, count});
    }
    candidate.changes.resize(first.size());
    Times changes = all;
    for (const auto& [number, count] : before) changes[number] -= count;
    for (const auto& [number, count] : changes) {
      if (count != 0)
        candidate.changes[number.first].push_back({number.first, number.second, count});
    }
    before = std::move(all);
  }
}

MemoryPlan::Share MemoryPlan::share(std::size_t slot, std::span<const std::int64_t> numbers) const {
  Share share;
  share.reserve(candidates_.size());
  Sum sum;
  for (const Candidate& candidate : candidates_) {
    for (const Term& term : candidate.changes[slot]) sum.add(numbers[term.number], term.times);
    share.push_back(sum.value());
  }
  sum.check();
  return share;
}

void MemoryPlan::peak(std::span<const Source> sources, Peak& peak) const {
  peak.temp = Bytes();
  peak.categories.clear();
  std::int64_t most = 0;
  const Candidate* at = nullptr;
  for (std::size_t c = 0; c < candidates_.size(); ++c) {
    Sum live;
    for (const Source& source : sources) live.add((*source.share)[c]);
    live.check();
    if (at != nullptr && live.value() <= most) continue;
    most = live.value();
    at = &candidates_[c];
  }
  if (at == nullptr) return;
  peak.temp = Bytes(most);
  for (const auto& [category, terms] : at->categories) {
    Sum bytes;
    for (const Term& term : terms) bytes.add(sources[term.slot].numbers[term.number], term.times);
    bytes.check();
    peak.categories.emplace_back(category, Bytes(bytes.value()));
  }
}

}  // namespace meshsim
