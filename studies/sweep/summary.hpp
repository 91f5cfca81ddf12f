// What stands out of the plans of a sweep, kept while they pass: the memory grows with the front,
// not with the plans.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "reports/sweep_report.hpp"

namespace meshsim {

// The plans that no other plan dominates: a dominates b if it is at least as good in every
// objective (step time, peak memory, chips; tokens per chip-hour) and better in one. Of plans with
// equal figures the first is kept.
class ParetoFront {
 public:
  void add(const SweepRow& row);
  std::vector<SweepRow> sorted() const;  // by step time, then by index

 private:
  std::vector<SweepRow> rows_;
};

class Summary {
 public:
  // `probability`: see SweepSummary.
  Summary(std::size_t top, double probability) : top_(top) { summary_.probability = probability; }

  void add(const SweepRow& row);
  const SweepRow* best() const { return summary_.top.empty() ? nullptr : &summary_.top.front(); }
  SweepSummary result() const;

 private:
  std::size_t top_;
  SweepSummary summary_;  // without the front, and without what is sorted at the end
  ParetoFront front_;
  std::map<std::int64_t, SweepRow> best_by_chips_;
};

}  // namespace meshsim
