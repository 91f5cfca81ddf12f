#include "reports/sweep_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "inputs/nearest.hpp"
#include "reports/csv.hpp"
#include "units/error.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

constexpr std::array<const char*, 4> objectives{"step_time_ps (less)", "peak_bytes (less)",
                                                "chips (fewer)", "tokens_per_chip_hour (more)"};

// JSON text in quotes.
void append_text(std::string& to, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
  if (plain) {
    to += '"';
    to += text;
    to += '"';
  } else {
    to += Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

// The members of a row, without the brace that opens it.
void append_members(std::string& text, const SweepRow& row) {
  const SweepOutcome& outcome = row.outcome;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "\"index\": {}, \"plan_hash\": \"{}\", \"verdict\": \"{}\"", row.index,
                 row.plan_hash, name(outcome.verdict));
  if (outcome.step_time) {
    fmt::format_to(out,
                   ", \"step_time_ps\": {}, \"tokens_per_s_per_device\": {}, "
                   "\"tokens_per_chip_hour\": {}, \"mfu_ratio\": {}, \"fit_probability\": {}",
                   outcome.step_time->value(), outcome.tokens_per_s_per_device,
                   row.tokens_per_chip_hour, outcome.mfu, outcome.fit_probability);
  } else {
    text +=
        ", \"step_time_ps\": null, \"tokens_per_s_per_device\": null, "
        "\"tokens_per_chip_hour\": null, \"mfu_ratio\": null, \"fit_probability\": null";
  }
  if (outcome.peak) {
    fmt::format_to(out, ", \"peak_bytes\": {}, \"peak_is_least\": {}", outcome.peak->value(),
                   outcome.peak_is_least);
  } else {
    text += ", \"peak_bytes\": null, \"peak_is_least\": false";
  }
  if (row.chips > 0) {
    fmt::format_to(out, ", \"chips\": {}", row.chips);
  } else {
    text += ", \"chips\": null";
  }
  if (row.upkeep) {
    fmt::format_to(out, ", \"goodput_ratio\": {}, \"checkpoint_interval_s\": {}",
                   row.upkeep->goodput, row.upkeep->checkpoint_interval);
    if (row.upkeep->cost_per_trillion_tokens)
      fmt::format_to(out, ", \"cost_per_trillion_tokens\": {}",
                     *row.upkeep->cost_per_trillion_tokens);
  }
  text += ", \"reason\": ";
  if (outcome.reason.empty()) {
    text += "null";
  } else {
    append_text(text, outcome.reason);
  }
  text += ", \"change\": ";
  append_text(text, row.change);
  text += ", \"command\": ";
  append_text(text, row.command);
  text += "}";
}

std::string row_json(const SweepRow& row) {
  std::string text = "{";
  append_members(text, row);
  return text;
}

constexpr const char* csv_head =
    "index,plan_hash,verdict,step_time_ps,tokens_per_s_per_device,tokens_per_chip_hour,mfu_ratio,"
    "fit_probability,"
    "peak_bytes,peak_is_least,chips,goodput_ratio,checkpoint_interval_s,cost_per_trillion_tokens,"
    "reason,change,command\n";

void append_csv(std::string& text, const SweepRow& row) {
  const SweepOutcome& outcome = row.outcome;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "{},{},{},", row.index, row.plan_hash, name(outcome.verdict));
  if (outcome.step_time) {
    fmt::format_to(out, "{},{},{},{},{},", outcome.step_time->value(),
                   outcome.tokens_per_s_per_device, row.tokens_per_chip_hour, outcome.mfu,
                   outcome.fit_probability);
  } else {
    text += ",,,,,";
  }
  if (outcome.peak) {
    fmt::format_to(out, "{},{},", outcome.peak->value(), outcome.peak_is_least);
  } else {
    text += ",,";
  }
  if (row.chips > 0) fmt::format_to(out, "{}", row.chips);
  text += ',';
  if (row.upkeep) {
    fmt::format_to(out, "{},{},", row.upkeep->goodput, row.upkeep->checkpoint_interval);
  } else {
    text += ",,";
  }
  if (row.upkeep && row.upkeep->cost_per_trillion_tokens)
    fmt::format_to(out, "{}", *row.upkeep->cost_per_trillion_tokens);
  text += ',';
  append_csv_field(text, outcome.reason);
  text += ',';
  append_csv_field(text, row.change);
  text += ',';
  append_csv_field(text, row.command);
  text += '\n';
}

std::string rows_json(const std::vector<SweepRow>& rows, std::string_view indent) {
  std::string text = "[";
  for (const SweepRow& row : rows)
    text += fmt::format("{}\n{}{}", &row == rows.data() ? "" : ",", indent, row_json(row));
  return text + "]";
}

std::string refined_json(const std::vector<RefinedRow>& rows, std::string_view indent) {
  std::string text = "[";
  for (const RefinedRow& one : rows) {
    const bool timed = one.step_time.has_value();
    const Json json = {
        {"index", one.row.index},
        {"plan_hash", one.row.plan_hash},
        {"verdict", one.verdict ? Json(name(*one.verdict)) : Json("failed")},
        {"closed_form_step_time_ps", one.row.outcome.step_time->value()},
        {"step_time_ps", timed ? Json(one.step_time->value()) : Json(nullptr)},
        {"difference_ratio",
         timed ? Json(*one.step_time / *one.row.outcome.step_time - 1) : Json(nullptr)},
        {"tokens_per_s_per_device", timed ? Json(one.tokens_per_s_per_device) : Json(nullptr)},
        {"tokens_per_chip_hour", timed ? Json(one.tokens_per_chip_hour) : Json(nullptr)},
        {"peak_bytes", one.peak ? Json(one.peak->value()) : Json(nullptr)},
        {"reason", one.reason.empty() ? Json(nullptr) : Json(one.reason)},
        {"change", one.row.change},
        {"command", one.command}};
    text += fmt::format("{}\n{}{}", &one == rows.data() ? "" : ",", indent,
                        json.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return text + "]";
}

Json rejected_json(const SweepSummary& summary) {
  std::vector<std::pair<std::string, SweepSummary::Rejected>> sorted(summary.rejected.begin(),
                                                                     summary.rejected.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
  Json list = Json::array();
  for (const auto& [cause, rejected] : sorted)
    list.push_back({{"reason", cause}, {"count", rejected.count}, {"example", rejected.example}});
  return list;
}

Json counts_json(const SweepSummary& summary) {
  Json counts = {{"plans", summary.plans}};
  for (const SweepVerdict verdict :
       {SweepVerdict::fits, SweepVerdict::does_not_fit, SweepVerdict::inconclusive,
        SweepVerdict::refused, SweepVerdict::failed}) {
    const auto found = summary.verdicts.find(verdict);
    counts[std::string(name(verdict))] = found == summary.verdicts.end() ? 0 : found->second;
  }
  return counts;
}

// "counts": ..., to "rejected": ..., without braces.
std::string summary_json(const SweepSummary& summary, std::string_view indent) {
  Json names = Json::array();
  for (const char* objective : objectives) names.push_back(objective);
  const std::string inner = std::string(indent) + "  ";
  return fmt::format(
      "{0}\"counts\": {1},\n{0}\"objectives\": {2},\n{0}\"front\": {3},\n{0}\"top\": {4},\n"
      "{0}\"best_by_chips\": {5},\n{0}\"fit_probability_wanted\": {6},\n{0}\"fastest\": {7},\n"
      "{0}\"smallest_slice\": {8},\n{0}\"rejected\": {9},\n"
      "{0}\"refined\": {10},\n{0}\"refined_routing\": {11}",
      indent, counts_json(summary).dump(), names.dump(), rows_json(summary.front, inner),
      rows_json(summary.top, inner), rows_json(summary.best_by_chips, inner), summary.probability,
      summary.fastest ? row_json(*summary.fastest) : "null",
      summary.smallest ? row_json(*summary.smallest) : "null",
      rejected_json(summary).dump(-1, ' ', false, Json::error_handler_t::replace),
      refined_json(summary.refined, inner),
      summary.refined_routing.empty() ? "null" : Json(summary.refined_routing).dump());
}

Json head_json(const SweepHead& head) {
  Json json = report_head("sweep");
  json["provenance"] = head.provenance;
  json["space"] = {{"source", head.source}, {"axes", head.axes}, {"fidelity", head.fidelity}};
  return json;
}

void append_rows(std::string& text, const char* title, const std::vector<SweepRow>& rows) {
  if (rows.empty()) return;
  const bool upkeep = rows.front().upkeep.has_value();
  const bool priced = std::any_of(rows.begin(), rows.end(), [](const SweepRow& row) {
    return row.upkeep && row.upkeep->cost_per_trillion_tokens;
  });
  text += fmt::format("\n{}\n{:>6}{:>11}{:>12}{:>9}{:>12}", title, "chips", "step", "tok/s/dev",
                      "MFU", "peak");
  if (upkeep) text += fmt::format("{:>9}{:>12}", "goodput", "ckpt every");
  if (priced) text += fmt::format("{:>15}", "per 1e12 tok");
  text += "  change\n";
  for (const SweepRow& row : rows) {
    text += fmt::format("{:>6}{:>11}{:>12.1f}{:>9}{:>12}", row.chips,
                        human(row.outcome.step_time.value_or(Picoseconds(0))),
                        row.outcome.tokens_per_s_per_device,
                        fmt::format("{:.1f} %", 100 * row.outcome.mfu),
                        in_gib(row.outcome.peak.value_or(Bytes(0))));
    if (upkeep)
      text += fmt::format("{:>9}{:>12}", fmt::format("{:.2f} %", 100 * row.upkeep->goodput),
                          fmt::format("{:.0f} s", row.upkeep->checkpoint_interval));
    const bool has_cost = row.upkeep && row.upkeep->cost_per_trillion_tokens;
    if (priced && has_cost) text += fmt::format("{:>15.0f}", *row.upkeep->cost_per_trillion_tokens);
    if (priced && !has_cost) text += fmt::format("{:>15}", "-");
    text += fmt::format("  {}\n", printable(row.change));
  }
}

// The best plans in the event engine, beside what the sweep said of them.
std::string refined_table(const SweepSummary& summary) {
  const std::vector<RefinedRow>& rows = summary.refined;
  if (rows.empty()) return "";
  std::string text = fmt::format(
      "\nthe best again, in the event engine{}\n{:>6}{:>11}{:>11}{:>10}{:>12}{:>13}  change\n",
      summary.refined_routing.empty() ? "" : ", routing " + printable(summary.refined_routing),
      "chips", "sweep", "event", "", "tok/s/dev", "verdict");
  for (const RefinedRow& one : rows) {
    const Picoseconds before = *one.row.outcome.step_time;
    text += fmt::format("{:>6}{:>11}", one.row.chips, human(before));
    if (!one.step_time) {
      text += fmt::format("  {}  ({})\n", printable(one.row.change), printable(one.reason));
      continue;
    }
    text += fmt::format("{:>11}{:>10}{:>12.1f}{:>13}  {}\n", human(*one.step_time),
                        fmt::format("{:+.2f} %", 100 * (*one.step_time / before - 1)),
                        one.tokens_per_s_per_device, name(*one.verdict), printable(one.row.change));
  }
  return text + "the first of them:\n  " + printable(rows.front().command) + "\n";
}

// One line of the list of plans.
std::string listed(const SweepRow& row) {
  const SweepOutcome& outcome = row.outcome;
  const bool timed = outcome.step_time.has_value();
  std::string text = fmt::format(
      "{:<13}{:>7}{:>11}{:>12}{:>8}  {}", name(outcome.verdict), row.chips,
      timed ? human(*outcome.step_time) : "-", outcome.peak ? in_gib(*outcome.peak) : "-",
      timed ? fmt::format("{:.3f}", outcome.fit_probability) : "-", printable(row.change));
  if (outcome.verdict == SweepVerdict::refused || outcome.verdict == SweepVerdict::failed)
    text += "  (" + printable(outcome.reason) + ")";
  return text + "\n";
}

const SweepRow& best_of(const std::vector<SweepRow>& rows) {
  return *std::min_element(rows.begin(), rows.end(), [](const SweepRow& a, const SweepRow& b) {
    return std::pair(-a.tokens_per_chip_hour, a.index) <
           std::pair(-b.tokens_per_chip_hour, b.index);
  });
}

std::string table(const SweepHead& head, const SweepSummary& summary) {
  std::string text = fmt::format("{}{}: {} plans ({})\n", head.list_plans ? "\n" : "",
                                 printable(head.source), summary.plans, head.fidelity);
  for (const auto& [verdict, count] : summary.verdicts)
    text += fmt::format("  {:<14}{:>10}\n", name(verdict), count);
  append_rows(text, "best plan of each size, by tokens per chip-hour", summary.best_by_chips);
  append_rows(text, "most tokens per chip-hour", summary.top);
  constexpr std::size_t shown = 20;
  std::vector<SweepRow> front = summary.front;
  const std::size_t all = front.size();
  if (front.size() > shown) front.resize(shown);
  append_rows(text,
              all > shown
                  ? fmt::format("Pareto front: step time, peak memory, chips, tokens per chip-hour "
                                "(the first {} of {}; -o json has all)",
                                shown, all)
                        .c_str()
                  : "Pareto front: step time, peak memory, chips, tokens per chip-hour",
              front);
  if (!summary.rejected.empty()) {
    text += "\nrejected\n";
    for (const Json& rejected : rejected_json(summary)) {
      text += fmt::format("{:>10}  {:<40}  {}\n", rejected["count"].get<std::int64_t>(),
                          printable(rejected["reason"].get<std::string>()),
                          printable(rejected["example"].get<std::string>()));
    }
  }
  text += refined_table(summary);
  if (summary.plans == 0) return text + "\nNO PLAN MEETS THE CONDITIONS\n";
  if (summary.best_by_chips.empty()) return text + "\nNO PLAN FITS\n";
  if (!summary.fastest) {
    return text + fmt::format("\nNO PLAN FITS WITH p >= {}; the best that should fit:\n  {}\n",
                              summary.probability,
                              printable(best_of(summary.best_by_chips).command));
  }
  text += fmt::format("\nfastest plan that fits with p >= {}:\n  {}\n", summary.probability,
                      printable(summary.fastest->command));
  if (summary.smallest->index != summary.fastest->index)
    text += fmt::format("smallest slice ({} chips):\n  {}\n", summary.smallest->chips,
                        printable(summary.smallest->command));
  return text;
}

}  // namespace

std::string_view name(SweepVerdict verdict) {
  switch (verdict) {
    case SweepVerdict::fits: return "fits";
    case SweepVerdict::does_not_fit: return "does_not_fit";
    case SweepVerdict::inconclusive: return "inconclusive";
    case SweepVerdict::refused: return "refused";
    case SweepVerdict::failed: return "failed";
  }
  return "";
}

SweepForm sweep_form(const std::string& name) {
  if (name == "table") return SweepForm::table;
  if (name == "json") return SweepForm::json;
  if (name == "jsonl") return SweepForm::jsonl;
  if (name == "csv") return SweepForm::csv;
  throw Error(ErrorKind::usage, "-o " + printable(name) + " is not a form of this report",
              "table, json, jsonl or csv");
}

std::string sweep_head(SweepForm form, const SweepHead& head) {
  switch (form) {
    case SweepForm::table:
      return head.list_plans ? fmt::format("{:<13}{:>7}{:>11}{:>12}{:>8}  {}\n", "verdict", "chips",
                                           "step", "peak", "p", "plan")
                             : "";
    case SweepForm::csv: return csv_head;
    case SweepForm::jsonl: {
      Json json = head_json(head);
      json["record"] = "head";
      return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    }
    case SweepForm::json: break;
  }
  std::string text = json_text(head_json(head));
  text.resize(text.rfind("\n}"));  // what follows belongs to the same object
  return text + ",\n  \"plans\": [";
}

void append_sweep_row(std::string& to, SweepForm form, const SweepHead& head, const SweepRow& row,
                      bool first) {
  switch (form) {
    case SweepForm::table:
      if (head.list_plans) to += listed(row);
      return;
    case SweepForm::csv: append_csv(to, row); return;
    case SweepForm::jsonl:
      to += "{\"record\": \"plan\", ";
      append_members(to, row);
      to += '\n';
      return;
    case SweepForm::json:
      to += first ? "\n    {" : ",\n    {";
      append_members(to, row);
      return;
  }
}

std::string sweep_tail(SweepForm form, const SweepHead& head, const SweepSummary& summary) {
  switch (form) {
    case SweepForm::table: return table(head, summary);
    case SweepForm::csv: return "";
    case SweepForm::jsonl: {
      std::string text = "{\"record\": \"summary\", " + summary_json(summary, "") + "}";
      std::replace(text.begin(), text.end(), '\n', ' ');
      return text + "\n";
    }
    case SweepForm::json: break;
  }
  return "],\n" + summary_json(summary, "  ") + "\n}\n";
}

}  // namespace meshsim
