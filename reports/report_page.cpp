#include "reports/report_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "inputs/nearest.hpp"
#include "reports/csv.hpp"
#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

std::string html(std::string_view text) {
  std::string escaped;
  for (const char c : printable(std::string(text))) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

// A cell of a markdown table, or a line of a list.
std::string markdown(std::string_view text) {
  std::string escaped;
  for (const char c : html(text)) {
    if (c == '|' || c == '`' || c == '*' || c == '[' || c == ']' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string title_of(const ReportFile& report) {
  return fmt::format("{} ({})", report.kind, report.name);
}

// ---- markdown

void add_markdown(const ReportFile& report, std::string& text) {
  const ReportParts parts = parts_of(report);
  text += fmt::format("# {}\n\n| | |\n|---|---:|\n", markdown(title_of(report)));
  for (const ReportParts::Fact& fact : parts.facts)
    text += fmt::format("| {} | {} |\n", markdown(fact.name),
                        markdown(shown_value(fact.name, fact.value)));
  for (const ReportTable& table : parts.tables) {
    text += fmt::format("\n## {}\n\n|", markdown(table.name));
    std::string rule = "|";
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      text += fmt::format(" {} |", markdown(table.columns[i]));
      rule += is_number(table.rows.front()[i]) ? "---:|" : "---|";
    }
    text += "\n" + rule + "\n";
    for (const auto& row : table.rows) {
      text += "|";
      for (std::size_t i = 0; i < row.size(); ++i)
        text += fmt::format(" {} |", markdown(shown_value(table.columns[i], row[i])));
      text += "\n";
    }
  }
  for (const ReportParts::List& list : parts.lists) {
    text += fmt::format("\n## {}\n\n", markdown(list.name));
    for (const Node* item : list.items) text += fmt::format("- {}\n", markdown(item->text));
  }
}

// ---- HTML

constexpr const char* style =
    "body{font:14px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff}table{border-collapse:collapse;margin:.5rem 0}"
    "td,th{padding:.15rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "svg{width:8rem;height:.7rem}rect{fill:#0072b2}summary{cursor:pointer}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}"
    "td,th{border-color:#444}rect{fill:#56b4e9}}";

// The column that a bar beside each row shows: times, else bytes.
std::size_t bar_column(const ReportTable& table) {
  for (const char* name : {"ps", "effect_ps", "step_time_ps", "bytes", "bytes_per_device"}) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), name);
    if (found != table.columns.end())
      return static_cast<std::size_t>(found - table.columns.begin());
  }
  return table.columns.size();
}

double number(const Node* value) { return is_number(value) ? parse_real(value->text).value() : 0; }

void add_table(const ReportTable& table, std::string& text) {
  constexpr std::size_t long_table = 40;
  const std::size_t bar = bar_column(table);
  double largest = 0;
  if (bar < table.columns.size()) {
    for (const auto& row : table.rows) largest = std::max(largest, number(row[bar]));
  }
  text += fmt::format("<details{}><summary><b>{}</b>: {} rows</summary>\n<table><thead><tr>",
                      table.rows.size() > long_table ? "" : " open", html(table.name),
                      table.rows.size());
  for (const std::string& column : table.columns) text += "<th>" + html(column) + "</th>";
  text += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool is_numeric = is_number(row[i]);
      text +=
          is_numeric ? fmt::format("<td class=\"n\" title=\"{}\">", html(row[i]->text)) : "<td>";
      text += html(shown_value(table.columns[i], row[i])) + "</td>";
    }
    if (largest > 0) {
      text += fmt::format(
          "<td><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
          "<rect width=\"{:.2f}\" height=\"8\"/></svg></td>",
          100 * std::max(0.0, number(row[bar])) / largest);
    }
    text += "</tr>\n";
  }
  text += "</tbody></table></details>\n";
}

void add_html(const ReportFile& report, std::string& text) {
  const ReportParts parts = parts_of(report);
  text += fmt::format("<h1>{}</h1>\n<table><tbody>\n", html(title_of(report)));
  for (const ReportParts::Fact& fact : parts.facts) {
    text += fmt::format("<tr><th>{}</th><td class=\"n\">{}</td></tr>\n", html(fact.name),
                        html(shown_value(fact.name, fact.value)));
  }
  text += "</tbody></table>\n";
  for (const ReportTable& table : parts.tables) add_table(table, text);
  for (const ReportParts::List& list : parts.lists) {
    text += fmt::format("<h2>{}</h2>\n<ul>\n", html(list.name));
    for (const Node* item : list.items) text += "<li>" + html(item->text) + "</li>\n";
    text += "</ul>\n";
  }
}

// ---- CSV

const ReportTable& chosen(const ReportFile& report, const ReportParts& parts,
                          const std::string& section) {
  std::vector<std::string> names;
  for (const ReportTable& table : parts.tables) names.push_back(table.name);
  const auto find = [&](const std::string& name) -> const ReportTable* {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? nullptr
                                : &parts.tables[static_cast<std::size_t>(found - names.begin())];
  };
  for (const char* most : {"plans", "rows", "time"}) {
    if (section.empty() && find(most) != nullptr) return *find(most);
  }
  if (section.empty() && !names.empty()) return parts.tables.front();
  if (const ReportTable* table = find(section)) return *table;
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  const std::string near = did_you_mean(section, names);
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{report.name},
                         {},
                         section.empty() ? std::string("holds no table that is not empty")
                                         : fmt::format("has no table {}", in_quotes(section)),
                         near.empty() ? "tables: " + all : near});
}

std::string csv_cell(const Node* value) {
  if (value == nullptr || value->kind == Node::Kind::null) return "";
  if (is_number(value)) return value->text;
  return csv_field(value->kind == Node::Kind::scalar ? value->text : flow_text(*value));
}

}  // namespace

std::string report_markdown(const std::vector<ReportFile>& reports) {
  std::string text;
  for (const ReportFile& report : reports) {
    if (!text.empty()) text += "\n";
    add_markdown(report, text);
  }
  return text;
}

std::string report_html(const std::vector<ReportFile>& reports) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>meshsim {}</title>\n<style>{}</style></head><body>\n",
      html(reports.front().kind), style);
  for (const ReportFile& report : reports) add_html(report, text);
  return text + "</body></html>\n";
}

std::string report_csv(const std::vector<ReportFile>& reports, const std::string& section) {
  std::vector<ReportParts> parts;
  std::vector<const ReportTable*> tables;
  std::vector<std::string> columns;
  for (const ReportFile& report : reports) parts.push_back(parts_of(report));
  for (std::size_t i = 0; i < reports.size(); ++i) {
    tables.push_back(&chosen(reports[i], parts[i], section));
    for (const std::string& column : tables.back()->columns) {
      if (std::find(columns.begin(), columns.end(), column) == columns.end())
        columns.push_back(column);
    }
  }
  const bool many = reports.size() > 1;
  std::string text = many ? "file" : "";
  for (const std::string& column : columns) text += (text.empty() ? "" : ",") + csv_field(column);
  text += "\n";
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const ReportTable& table = *tables[i];
    for (const auto& row : table.rows) {
      std::string line = many ? csv_field(reports[i].name) + "," : "";
      for (const std::string& column : columns) {
        const auto found = std::find(table.columns.begin(), table.columns.end(), column);
        if (found != table.columns.end())
          line += csv_cell(row[static_cast<std::size_t>(found - table.columns.begin())]);
        line += ",";
      }
      line.pop_back();
      text += line + "\n";
    }
  }
  return text;
}

}  // namespace meshsim
