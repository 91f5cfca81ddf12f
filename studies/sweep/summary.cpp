#include "studies/sweep/summary.hpp"

#include <algorithm>

namespace meshsim {
namespace {

// At least as good in everything: dominates, or is equal.
bool covers(const SweepRow& a, const SweepRow& b) {
  return *a.outcome.step_time <= *b.outcome.step_time && *a.outcome.peak <= *b.outcome.peak &&
         a.chips <= b.chips && a.tokens_per_chip_hour >= b.tokens_per_chip_hour;
}

bool better(const SweepRow& a, const SweepRow& b) {
  if (a.tokens_per_chip_hour != b.tokens_per_chip_hour)
    return a.tokens_per_chip_hour > b.tokens_per_chip_hour;
  return a.index < b.index;
}

}  // namespace

void ParetoFront::add(const SweepRow& row) {
  if (std::any_of(rows_.begin(), rows_.end(),
                  [&](const SweepRow& kept) { return covers(kept, row); }))
    return;
  std::erase_if(rows_, [&](const SweepRow& kept) { return covers(row, kept); });
  rows_.push_back(row);
}

std::vector<SweepRow> ParetoFront::sorted() const {
  std::vector<SweepRow> rows = rows_;
  std::sort(rows.begin(), rows.end(), [](const SweepRow& a, const SweepRow& b) {
    if (*a.outcome.step_time != *b.outcome.step_time)
      return *a.outcome.step_time < *b.outcome.step_time;
    return a.index < b.index;
  });
  return rows;
}

void Summary::add(const SweepRow& row) {
  ++summary_.plans;
  ++summary_.verdicts[row.outcome.verdict];
  if (!row.outcome.cause.empty()) {
    SweepSummary::Rejected& rejected = summary_.rejected[row.outcome.cause];
    if (rejected.count++ == 0) rejected.example = row.outcome.reason;
  }
  if (row.outcome.verdict == SweepVerdict::fits && row.outcome.step_time) add_fitting(row);
}

void Summary::add(const SummaryPart& later) {
  summary_.plans += later.plans;
  for (const auto& [verdict, count] : later.verdicts) summary_.verdicts[verdict] += count;
  for (const auto& [cause, more] : later.rejected) {
    SweepSummary::Rejected& rejected = summary_.rejected[cause];
    if (rejected.count == 0) rejected.example = more.example;
    rejected.count += more.count;
  }
  for (const SweepRow& row : later.standing_out) add_fitting(row);
}

SummaryPart Summary::part() const {
  std::map<std::int64_t, const SweepRow*> rows;
  const auto all = [&](const std::vector<SweepRow>& some) {
    for (const SweepRow& row : some) rows.emplace(row.index, &row);
  };
  all(front_.rows());
  all(summary_.top);
  for (const auto& [chips, row] : best_by_chips_) rows.emplace(row.index, &row);
  for (const std::optional<SweepRow>* one : {&summary_.fastest, &summary_.smallest})
    if (*one) rows.emplace((*one)->index, &**one);
  SummaryPart part{summary_.plans, summary_.verdicts, summary_.rejected, {}};
  for (const auto& [index, row] : rows) part.standing_out.push_back(*row);
  return part;
}

void Summary::add_fitting(const SweepRow& row) {
  front_.add(row);
  const auto [best, fresh] = best_by_chips_.emplace(row.chips, row);
  if (!fresh && better(row, best->second)) best->second = row;
  if (row.outcome.fit_probability >= summary_.probability) {
    if (!summary_.fastest || better(row, *summary_.fastest)) summary_.fastest = row;
    std::optional<SweepRow>& smallest = summary_.smallest;
    if (!smallest || row.chips < smallest->chips ||
        (row.chips == smallest->chips && better(row, *smallest)))
      smallest = row;
  }
  std::vector<SweepRow>& top = summary_.top;
  if (top_ == 0 || (top.size() == top_ && !better(row, top.back()))) return;
  top.insert(std::upper_bound(top.begin(), top.end(), row, better), row);
  if (top.size() > top_) top.pop_back();
}

SweepSummary Summary::result() const {
  SweepSummary summary = summary_;
  summary.front = front_.sorted();
  for (const auto& [chips, row] : best_by_chips_) summary.best_by_chips.push_back(row);
  return summary;
}

}  // namespace meshsim
