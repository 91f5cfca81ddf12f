#include "reports/report_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inputs/json.hpp"
#include "inputs/source.hpp"
#include "reports/document.hpp"
#include "reports/schemas.hpp"
#include "units/parse.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

constexpr std::string_view schema_root = "https://meshsim.dev/schema/";

[[noreturn]] void refuse(const std::string& path, std::string what, std::string hint) {
  throw Error(ErrorKind::invalid_input, Diagnostic{{path}, {}, std::move(what), std::move(hint)});
}

std::string text_at(const Node& root, std::string_view key) {
  const Node* found = root.find(key);
  return found != nullptr && found->kind == Node::Kind::scalar ? found->text : "";
}

std::string writer_of(const Node& root) {
  const Node* provenance = root.find("provenance");
  const std::string known = provenance == nullptr ? "" : text_at(*provenance, "version");
  return known.empty() ? "the meshsim that wrote it" : "meshsim " + known + ", which wrote it";
}

bool is_scalar(const Node& node) {
  return node.kind == Node::Kind::scalar || node.kind == Node::Kind::null;
}

bool all_mappings(const std::vector<Node>& nodes) {
  return !nodes.empty() && std::all_of(nodes.begin(), nodes.end(), [](const Node& one) {
    return one.kind == Node::Kind::mapping;
  });
}

// Mappings under names that are data and not fields: the settings of a plan.
bool holds_mappings(const Node& node) {
  return node.kind == Node::Kind::mapping && !node.members.empty() &&
         std::all_of(node.members.begin(), node.members.end(),
                     [](const Member& member) { return member.value.kind == Node::Kind::mapping; });
}

void add_row(ReportTable& table, const Node& mapping, std::vector<const Node*> row) {
  for (const Member& member : mapping.members) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), member.key);
    const auto at = static_cast<std::size_t>(found - table.columns.begin());
    if (found == table.columns.end()) table.columns.push_back(member.key);
    if (row.size() <= at) row.resize(at + 1);
    row[at] = &member.value;
  }
  table.rows.push_back(std::move(row));
}

class TakenApart {
 public:
  ReportParts run(const Node& root) {
    for (const Member& member : root.members) {
      if (member.key != "$schema") add(member.key, member.value);
    }
    for (ReportTable& table : parts_.tables) {
      for (auto& row : table.rows) row.resize(table.columns.size());
    }
    return std::move(parts_);
  }

 private:
  void add(const std::string& name, const Node& value) {
    if (is_scalar(value)) {
      parts_.facts.push_back({name, &value});
    } else if (value.kind == Node::Kind::mapping) {
      if (holds_mappings(value)) {
        keyed(name, value);
      } else {
        for (const Member& member : value.members) add(name + "." + member.key, member.value);
      }
    } else if (all_mappings(value.items)) {
      ReportTable& table = parts_.tables.emplace_back();
      table.name = name;
      for (const Node& item : value.items) add_row(table, item, {});
    } else if (!value.items.empty() && std::all_of(value.items.begin(), value.items.end(),
                                                   [](const Node& item) { return item.quoted; })) {
      ReportParts::List& list = parts_.lists.emplace_back();
      list.name = name;
      for (const Node& item : value.items) list.items.push_back(&item);
    } else if (!value.items.empty()) {
      parts_.facts.push_back({name, &value});
    }
  }

  void keyed(const std::string& name, const Node& value) {
    ReportTable& table = parts_.tables.emplace_back();
    table.name = name;
    table.columns.emplace_back("key");
    for (const Member& member : value.members) {
      Node& key = parts_.keys.emplace_back();
      key.kind = Node::Kind::scalar;
      key.quoted = true;
      key.text = member.key;
      add_row(table, member.value, {&key});
    }
  }

  ReportParts parts_;
};

bool ends_in(std::string_view name, std::string_view unit) {
  return name == unit || name.ends_with("_" + std::string(unit));
}

}  // namespace

ReportFile read_report(const std::string& path) {
  ReportFile report{path, {}, parse_json(read_source(path))};
  const std::string schema = text_at(report.root, "$schema");
  const std::size_t slash = schema.rfind('/');
  if (!schema.starts_with(schema_root) || slash < schema_root.size()) {
    refuse(path,
           schema.empty()
               ? "is no report of meshsim: it names no $schema"
               : fmt::format("is no report of meshsim: its $schema is {}", in_quotes(schema)),
           "reports are what meshsim writes with -o json");
  }
  report.kind = schema.substr(schema_root.size(), slash - schema_root.size());
  const std::string format = text_at(report.root, "format_version");
  const bool ours = schema.substr(slash + 1) == "1" && format.starts_with("1.");
  if (!ours) {
    refuse(path,
           fmt::format("is of format {} ({}), and meshsim {} reads format 1", printable(format),
                       printable(schema.substr(slash + 1)), version),
           "read it with " + printable(writer_of(report.root)));
  }
  report_schema(report.kind);  // refuses a kind that is not known
  return report;
}

ReportParts parts_of(const ReportFile& report) { return TakenApart().run(report.root); }

bool is_number(const Node* value) {
  return value != nullptr && value->kind == Node::Kind::scalar && !value->quoted &&
         static_cast<bool>(parse_real(value->text));
}

std::string shown_value(std::string_view name, const Node* value) {
  if (value == nullptr || value->kind == Node::Kind::null) return "-";
  if (!is_number(value)) return value->kind == Node::Kind::scalar ? value->text : flow_text(*value);
  const double real = parse_real(value->text).value();
  if (const auto integer = parse_integer(value->text)) {
    if (ends_in(name, "ps") && integer.value() >= 0) return human(Picoseconds(integer.value()));
    if (ends_in(name, "bytes") && integer.value() >= 0) return human(Bytes(integer.value()));
    return value->text;
  }
  if (ends_in(name, "ratio")) return fmt::format("{:.2f} %", 100 * real);
  return fmt::format("{:.6g}", real);
}

}  // namespace meshsim
