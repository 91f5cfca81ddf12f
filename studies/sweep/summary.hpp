// What stands out of the plans of a sweep, kept while they pass: the memory grows with the front,
// not with the plans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
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
  const std::vector<SweepRow>& rows() const { return rows_; }

 private:
  std::vector<SweepRow> rows_;
};

// What a stretch of plans adds to a summary: their number, their reasons, and the few that can
// stand out of all plans, since they stand out of these.
struct SummaryPart {
  std::int64_t plans = 0;
  std::map<SweepVerdict, std::int64_t> verdicts;
  std::map<std::string, SweepSummary::Rejected> rejected;
  std::vector<SweepRow> standing_out;  // by index
};

class Summary {
 public:
  // `probability`: see SweepSummary.
  Summary(std::size_t top, double probability) : top_(top) { summary_.probability = probability; }

  void add(const SweepRow& row);
  // The plans of `later` come behind all that were added: the same as if each of them were.
  void add(const SummaryPart& later);
  SummaryPart part() const;
  const SweepRow* best() const { return summary_.top.empty() ? nullptr : &summary_.top.front(); }
  SweepSummary result() const;

 private:
  void add_fitting(const SweepRow& row);

  std::size_t top_;
  SweepSummary summary_;  // without the front, and without what is sorted at the end
  ParetoFront front_;
  std::map<std::int64_t, SweepRow> best_by_chips_;
};

}  // namespace meshsim
