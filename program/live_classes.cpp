#include "program/live_classes.hpp"

#include <algorithm>
#include <tuple>

namespace meshsim {
namespace {

struct NumberChange {
  NumberId number = 0;
  int leaf = 0;
  std::int64_t times = 0;
};

// Ascending by number and leaf, each pair once, and none that adds up to nothing.
std::vector<NumberChange> changes_of(const StepProgram& program, const Lifetimes& lifetimes,
                                     std::span<const std::int64_t> numbers) {
  std::vector<NumberChange> all;
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    const LifeRange& range = lifetimes.ranges()[id];
    if (!range.used()) continue;
    for (const AmountTerm& term : program.buffers[id].terms) {
      if (numbers[static_cast<std::size_t>(term.number)] == 0) continue;
      all.push_back({term.number, range.first, term.times});
      all.push_back({term.number, range.last + 1, -term.times});
    }
  }
  std::sort(all.begin(), all.end(), [](const NumberChange& a, const NumberChange& b) {
    return std::tie(a.number, a.leaf) < std::tie(b.number, b.leaf);
  });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all.size();) {
    NumberChange sum = all[i++];
    for (; i < all.size() && all[i].number == sum.number && all[i].leaf == sum.leaf; ++i)
      sum.times += all[i].times;
    if (sum.times != 0) all[kept++] = sum;
  }
  all.resize(kept);
  return all;
}

using Life = std::span<const NumberChange>;  // of one number

bool before(const Life& a, const Life& b) {
  return std::lexicographical_compare(
      a.begin(), a.end(), b.begin(), b.end(), [](const NumberChange& one, const NumberChange& two) {
        return std::tie(one.leaf, one.times) < std::tie(two.leaf, two.times);
      });
}

}  // namespace

LiveClasses live_classes(const StepProgram& program, const Lifetimes& lifetimes,
                         std::span<const std::int64_t> numbers) {
  const std::vector<NumberChange> changes = changes_of(program, lifetimes, numbers);
  std::vector<Life> lives;
  for (auto from = changes.begin(); from != changes.end();) {
    const auto to = std::find_if(from, changes.end(), [&](const NumberChange& change) {
      return change.number != from->number;
    });
    lives.emplace_back(from, to);
    from = to;
  }
  std::stable_sort(lives.begin(), lives.end(), before);
  LiveClasses classes;
  for (std::size_t i = 0; i < lives.size(); ++i) {
    if (i == 0 || before(lives[i - 1], lives[i])) {
      const auto next = static_cast<std::uint32_t>(classes.members.size());
      for (const NumberChange& change : lives[i])
        classes.changes.push_back({change.leaf, next, change.times});
      classes.members.emplace_back();
    }
    classes.members.back().push_back(lives[i].front().number);
  }
  std::stable_sort(classes.changes.begin(), classes.changes.end(),
                   [](const LiveChange& a, const LiveChange& b) { return a.leaf < b.leaf; });
  return classes;
}

}  // namespace meshsim
