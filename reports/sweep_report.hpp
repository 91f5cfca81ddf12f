// Many plans: one row each, and what stands out of them.
//
// Rows are written as they come, in the order of the plans; the summary follows the last one. The
// bytes depend on the rows alone: not on how many threads, ranks or runs produced them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/document.hpp"
#include "sim/evaluation.hpp"
#include "units/quantity.hpp"

namespace meshsim {

enum class SweepVerdict { fits, does_not_fit, inconclusive, refused, failed };
std::string_view name(SweepVerdict verdict);

// What one plan came to. Everything but the verdict may be unknown.
struct SweepOutcome {
  SweepVerdict verdict = SweepVerdict::failed;
  std::optional<Picoseconds> step_time;
  double tokens_per_s_per_device = 0;  // with step_time
  double mfu = 0;                      // with step_time
  std::optional<Bytes> peak;
  double fit_probability = 0;  // with step_time
  bool peak_is_least = false;  // the plan needs at least this: it was not looked at any further
  std::string reason;          // of a plan that does not fit, is refused or failed
  std::string cause;           // the class of the reason: what rejected[] counts
};

struct SweepRow {
  std::int64_t index = 0;
  std::string plan_hash;
  std::int64_t chips = 0;
  double tokens_per_chip_hour = 0;  // with step_time
  SweepOutcome outcome;
  // What failures and prices make of it, where they are known.
  struct Upkeep {
    double goodput = 0;                              // useful time over time
    double checkpoint_interval = 0;                  // seconds
    std::optional<double> cost_per_trillion_tokens;  // in the currency of the price
  };
  std::optional<Upkeep> upkeep;
  std::string change;   // "key=value ..." of the axes
  std::string command;  // to be pasted
};

// One of the best plans, run again in the event engine. Without a step time it has a reason.
struct RefinedRow {
  SweepRow row;  // as the sweep found it
  std::optional<Verdict> verdict;
  std::optional<Bytes> peak;
  std::optional<Picoseconds> step_time;
  double tokens_per_s_per_device = 0, tokens_per_chip_hour = 0;  // with step_time
  std::string reason;
  std::string command;
};

// What stands out.
struct SweepSummary {
  std::int64_t plans = 0;
  std::map<SweepVerdict, std::int64_t> verdicts;
  std::vector<SweepRow> front;  // no plan that fits is at least as good in all objectives
  std::vector<SweepRow> top;    // by tokens per chip-hour, then by index
  std::vector<SweepRow> best_by_chips;
  // Of the plans that fit with a probability of at least `probability`: the one with the most
  // tokens per chip-hour, and the best of those with the fewest chips.
  double probability = 0;
  std::optional<SweepRow> fastest, smallest;
  struct Rejected {
    std::int64_t count = 0;
    std::string example;  // the reason of the first
  };
  std::map<std::string, Rejected> rejected;  // by cause
  std::vector<RefinedRow> refined;           // by tokens per chip-hour as refined
  std::string refined_routing;               // the law that they ran under, "": their own
};

struct SweepHead {
  std::string source;  // the file of the space
  std::string fidelity;
  std::int64_t axes = 0;
  bool list_plans = false;  // in the table too
  Json provenance;
};

// Forms of a sweep report: table (the summary), json, jsonl, csv. Throws Error(usage) for another.
enum class SweepForm { table, json, jsonl, csv };
SweepForm sweep_form(const std::string& name);

std::string sweep_head(SweepForm form, const SweepHead& head);
// Appends a row. `first`: of the report.
void append_sweep_row(std::string& to, SweepForm form, const SweepHead& head, const SweepRow& row,
                      bool first);
std::string sweep_tail(SweepForm form, const SweepHead& head, const SweepSummary& summary);

}  // namespace meshsim
