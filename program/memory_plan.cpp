#include "program/memory_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "program/lifetimes.hpp"
#include "units/checked.hpp"
#include "units/interned.hpp"

namespace meshsim {

namespace {

// How often each number is live at a leaf.
struct LiveNumbers {
  int leaf = 0;
  double bytes = 0;
  std::vector<std::int32_t> times;  // of the numbers that are not 0
  std::vector<std::uint64_t> live;  // their bits: which of them are live at all
};

// No plan of the layout has its (first) peak at `b`, but at `a` or elsewhere.
bool dominates(const LiveNumbers& a, const LiveNumbers& b) {
  // Mostly something is live at `b` that is not at `a`: many numbers are compared at once.
  for (std::size_t word = 0; word < a.live.size(); ++word) {
    if ((b.live[word] & ~a.live[word]) != 0) return false;
  }
  bool more = a.leaf < b.leaf;
  for (std::size_t n = 0; n < a.times.size(); ++n) {
    if (a.times[n] < b.times[n]) return false;
    more = more || a.times[n] > b.times[n];
  }
  return more;
}

// What becomes live, or dies, at one leaf.
struct LiveChange {
  int leaf = 0;
  NumberId number = 0;
  std::int64_t times = 0;
};

// Ascending by leaf and number, each pair once, and none that adds up to nothing.
std::vector<LiveChange> changes_of(const StepProgram& program, const Lifetimes& lifetimes) {
  std::vector<LiveChange> all;
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    for (const AmountTerm& term : program.buffers[id].terms) {
      all.push_back({range.first, term.number, term.times});
      all.push_back({range.last + 1, term.number, -term.times});
    }
  }
  std::sort(all.begin(), all.end(), [](const LiveChange& a, const LiveChange& b) {
    return std::tie(a.leaf, a.number) < std::tie(b.leaf, b.number);
  });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.size();) {
    LiveChange sum = all[i++];
    for (; i < all.size() && all[i].leaf == sum.leaf && all[i].number == sum.number; ++i)
      sum.times += all[i].times;
    if (sum.times != 0) all[kept++] = sum;
  }
  all.resize(kept);
  return all;
}

class Candidates {
 public:
  // The peak depends on numbers that are not 0 alone.
  Candidates(const std::vector<LiveChange>& changes, std::size_t leaves,
             std::span<const std::int64_t> numbers)
      : leaves_(leaves), place_(numbers.size(), no_number) {
    for (std::size_t n = 0; n < numbers.size(); ++n) {
      if (numbers[n] == 0) continue;
      place_[n] = static_cast<NumberId>(sizes_.size());
      sizes_.push_back(static_cast<double>(numbers[n]));
    }
    for (const LiveChange& change : changes) {
      if (place_[static_cast<std::size_t>(change.number)] != no_number) changes_.push_back(change);
    }
  }

  // The leaves that no other dominates, in program order.
  std::vector<int> leaves() const {
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
  // Leaves that their neighbours do not dominate.
  std::vector<LiveNumbers> summits() const {
    std::vector<bool> grows(leaves_ + 1), shrinks(leaves_ + 1);
    for (const LiveChange& change : changes_)
      (change.times > 0 ? grows : shrinks)[static_cast<std::size_t>(change.leaf)] = true;
    std::vector<LiveNumbers> all;
    LiveNumbers now;
    now.times.assign(sizes_.size(), 0);
    now.live.assign(sizes_.size() / word_bits + 1, 0);
    auto change = changes_.begin();
    for (std::size_t i = 0; i < leaves_; ++i) {
      now.leaf = static_cast<int>(i);
      for (; change != changes_.end() && change->leaf == now.leaf; ++change) {
        const auto at = static_cast<std::size_t>(place_[static_cast<std::size_t>(change->number)]);
        now.times[at] += static_cast<std::int32_t>(change->times);
        const std::uint64_t bit = std::uint64_t{1} << (at % word_bits);
        std::uint64_t& word = now.live[at / word_bits];
        word = now.times[at] > 0 ? word | bit : word & ~bit;
        now.bytes += static_cast<double>(change->times) * sizes_[at];
      }
      const bool before_dominates = i > 0 && !grows[i];
      const bool next_dominates = i + 1 < leaves_ && grows[i + 1] && !shrinks[i + 1];
      if (!before_dominates && !next_dominates) all.push_back(now);
    }
    return all;
  }

  static constexpr std::size_t word_bits = 64;

  std::size_t leaves_;
  std::vector<LiveChange> changes_;
  std::vector<NumberId> place_;  // of each number that is not 0
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
  const auto place = [&](NumberId number, std::int64_t times) {
    const auto slot = std::upper_bound(first.begin(), first.end(), number) - first.begin() - 1;
    return Term{static_cast<std::uint32_t>(slot),
                static_cast<std::uint32_t>(number - first[static_cast<std::size_t>(slot)]), times};
  };
  const std::vector<LiveChange> changes = changes_of(program, lifetimes);
  std::vector<std::int64_t> sums(numbers.size(), 0);  // of the changes since the last candidate
  std::vector<NumberId> changed;
  auto change = changes.begin();
  for (const int leaf : Candidates(changes, lifetimes.leaves().size(), numbers).leaves()) {
    for (; change != changes.end() && change->leaf <= leaf; ++change) {
      std::int64_t& sum = sums[static_cast<std::size_t>(change->number)];
      if (sum == 0) changed.push_back(change->number);
      sum += change->times;
    }
    std::sort(changed.begin(), changed.end());
    for (const NumberId number : changed) {
      std::int64_t& sum = sums[static_cast<std::size_t>(number)];
      if (sum != 0) changes_.push_back(place(number, sum));
      sum = 0;
    }
    changed.clear();
    candidates_.push_back({leaf, changes_.size(), {}});
  }
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    if (lifetimes.ranges()[id].used()) names_.push_back(interned(program.buffers[id].category));
  }
  std::sort(names_.begin(), names_.end());
  names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    const Buffer& buffer = program.buffers[id];
    const auto category = static_cast<std::uint32_t>(
        std::lower_bound(names_.begin(), names_.end(), buffer.category) - names_.begin());
    lives_.push_back({range.first, range.last, category});
    for (const AmountTerm& term : buffer.terms)
      live_.push_back({range.first, range.last, category, place(term.number, term.times)});
  }
  std::sort(live_.begin(), live_.end(), [](const LiveTerm& a, const LiveTerm& b) {
    return std::tie(a.category, a.term.slot, a.term.number) <
           std::tie(b.category, b.term.slot, b.term.number);
  });
}

MemoryPlan::Categories MemoryPlan::categories_at(int leaf) const {
  const auto lives = [&](const auto& one) { return one.first <= leaf && leaf <= one.last; };
  std::vector<bool> is_there(names_.size());
  for (const Life& life : lives_) {
    if (lives(life)) is_there[life.category] = true;
  }
  std::vector<std::vector<Term>> terms(names_.size());
  for (const LiveTerm& live : live_) {
    if (!lives(live)) continue;
    std::vector<Term>& known = terms[live.category];
    if (!known.empty() && known.back().slot == live.term.slot &&
        known.back().number == live.term.number) {
      known.back().times += live.term.times;
    } else {
      known.push_back(live.term);
    }
  }
  Categories categories;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (is_there[i]) categories.emplace_back(names_[i], std::move(terms[i]));
  }
  return categories;
}

void MemoryPlan::peak(std::span<const std::span<const std::int64_t>> numbers, Peak& peak) {
  peak.temp = Bytes();
  peak.categories.clear();
  std::int64_t most = 0;
  Candidate* at = nullptr;
  Sum live;
  std::size_t next = 0;
  for (Candidate& candidate : candidates_) {
    for (; next < candidate.end; ++next) {
      const Term& term = changes_[next];
      live.add(numbers[term.slot][term.number], term.times);
    }
    if (at != nullptr && live.value() <= most) continue;
    most = live.value();
    at = &candidate;
  }
  live.check();
  if (at == nullptr) return;
  peak.temp = Bytes(most);
  if (!at->categories) at->categories = categories_at(at->leaf);
  for (const auto& [category, terms] : *at->categories) {
    Sum bytes;
    for (const Term& term : terms) bytes.add(numbers[term.slot][term.number], term.times);
    bytes.check();
    peak.categories.emplace_back(category, Bytes(bytes.value()));
  }
}

}  // namespace meshsim
