#include "program/memory_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "units/checked.hpp"

namespace meshsim {

namespace {

// How often the numbers of each class are live at a leaf.
struct LiveNumbers {
  int leaf = 0;
  double bytes = 0;
  std::vector<std::int32_t> times;
  std::vector<std::uint64_t> live;  // a bit for each class: which of them are live at all
};

// Whether every one of `a` is at least that of `b`. Many are compared at once.
bool at_least(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  constexpr std::size_t stretch = 16;
  std::size_t i = 0;
  for (; i + stretch <= a.size(); i += stretch) {
    int less = 0;
    for (std::size_t j = i; j < i + stretch; ++j) less |= static_cast<int>(a[j] < b[j]);
    if (less != 0) return false;
  }
  for (; i < a.size(); ++i) {
    if (a[i] < b[i]) return false;
  }
  return true;
}

// No plan of the layout has its (first) peak at `b`, but at `a` or elsewhere.
bool dominates(const LiveNumbers& a, const LiveNumbers& b) {
  // Mostly something is live at `b` that is not at `a`.
  for (std::size_t word = 0; word < a.live.size(); ++word) {
    if ((b.live[word] & ~a.live[word]) != 0) return false;
  }
  return at_least(a.times, b.times) && (a.leaf < b.leaf || a.times != b.times);
}

class Candidates {
 public:
  // `leaves`: of the program. `sizes`: by class, in bytes.
  Candidates(const std::vector<LiveChange>& changes, std::size_t leaves, std::vector<double> sizes)
      : changes_(changes), leaves_(leaves), sizes_(std::move(sizes)) {}

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
        const auto at = std::size_t{change->of};
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

  const std::vector<LiveChange>& changes_;
  std::size_t leaves_;
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

MemoryPlan::Place MemoryPlan::place_of(NumberId number, std::span<const NumberId> first) {
  const auto slot = std::upper_bound(first.begin(), first.end(), number) - first.begin() - 1;
  return {static_cast<std::uint32_t>(slot),
          static_cast<std::uint32_t>(number - first[static_cast<std::size_t>(slot)])};
}

MemoryPlan::MemoryPlan(const StepProgram& program, std::span<const std::int64_t> numbers,
                       std::span<const NumberId> first) {
  const Lifetimes lifetimes(program);
  find_candidates(live_classes(program, lifetimes, numbers), lifetimes, numbers, first);
  find_lives(program, lifetimes, first);
}

void MemoryPlan::find_candidates(const LiveClasses& classes, const Lifetimes& lifetimes,
                                 std::span<const std::int64_t> numbers,
                                 std::span<const NumberId> first) {
  std::vector<double> sizes(classes.members.size(), 0);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (const NumberId number : classes.members[i])
      sizes[i] += static_cast<double>(numbers[static_cast<std::size_t>(number)]);
  }
  // Of a class: how often it became live since the candidate before; its index among those that
  // live at any candidate.
  std::vector<std::int64_t> sums(sizes.size(), 0);
  constexpr std::uint32_t none = UINT32_MAX;
  std::vector<std::uint32_t> kept(sizes.size(), none);
  std::vector<std::uint32_t> changed;
  auto change = classes.changes.begin();
  for (const int leaf :
       Candidates(classes.changes, lifetimes.leaves().size(), std::move(sizes)).leaves()) {
    for (; change != classes.changes.end() && change->leaf <= leaf; ++change) {
      if (sums[change->of] == 0) changed.push_back(change->of);
      sums[change->of] += change->times;
    }
    for (const std::uint32_t of : changed) {
      if (sums[of] == 0) continue;
      if (kept[of] == none) {
        kept[of] = static_cast<std::uint32_t>(class_ends_.size());
        for (const NumberId number : classes.members[of])
          members_.push_back(place_of(number, first));
        class_ends_.push_back(members_.size());
      }
      changes_.push_back({kept[of], sums[of]});
      sums[of] = 0;
    }
    changed.clear();
    candidates_.push_back({leaf, changes_.size(), {}});
  }
}

void MemoryPlan::find_lives(const StepProgram& program, const Lifetimes& lifetimes,
                            std::span<const NumberId> first) {
  const auto named = [&](Name category) {  // there are few
    return std::find(names_.begin(), names_.end(), category);
  };
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const Name category = program.buffers[id].category;
    if (lifetimes.ranges()[id].used() && named(category) == names_.end())
      names_.push_back(category);
  }
  std::sort(names_.begin(), names_.end());
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    const Buffer& buffer = program.buffers[id];
    const auto category = static_cast<std::uint32_t>(named(buffer.category) - names_.begin());
    lives_.push_back({range.first, range.last, category});
    for (const AmountTerm& term : buffer.terms)
      live_.push_back(
          {range.first, range.last, category, {place_of(term.number, first), term.times}});
  }
  std::sort(live_.begin(), live_.end(), [](const LiveTerm& a, const LiveTerm& b) {
    return std::tie(a.category, a.term.at.slot, a.term.at.number) <
           std::tie(b.category, b.term.at.slot, b.term.at.number);
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
    if (!known.empty() && known.back().at == live.term.at) {
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
  class_bytes_.clear();
  auto member = members_.begin();
  for (const std::size_t end : class_ends_) {
    Sum bytes;
    for (; member != members_.begin() + static_cast<std::ptrdiff_t>(end); ++member)
      bytes.add(numbers[member->slot][member->number]);
    bytes.check();
    class_bytes_.push_back(bytes.value());
  }
  std::size_t next = 0;
  for (Candidate& candidate : candidates_) {
    for (; next < candidate.end; ++next)
      live.add(class_bytes_[changes_[next].of], changes_[next].times);
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
    for (const Term& term : terms) bytes.add(numbers[term.at.slot][term.at.number], term.times);
    bytes.check();
    peak.categories.emplace_back(category, Bytes(bytes.value()));
  }
}

}  // namespace meshsim
