#include "reports/report_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

// What names a row, by the list that it stands in: the first of these that it has, all together.
const std::vector<std::string>& naming_fields(const std::string& list) {
  static const std::map<std::string, std::vector<std::string>> known{
      {"time", {"device_class", "layer_kind", "pass", "cause"}},
      {"memory", {"device_class", "category"}},
      {"collectives", {"name", "mesh_axis", "op"}},
      {"tensors", {"category", "name"}},
      {"causes", {"group", "detail"}},
      {"critical_path", {"op", "layer_kind", "pass", "bound"}},
      {"constants", {"name", "chip"}},
      {"cases", {"file", "case", "tensor"}},
      {"traffic", {"layer", "step", "collective", "src", "dst"}},
      {"routing", {"layer", "step", "src", "expert"}},
      {"links", {"from", "to"}},
      {"rejected", {"reason"}}};
  static const std::vector<std::string> others{"id", "plan_hash", "change", "name"};
  const auto found = known.find(list);
  return found == known.end() ? others : found->second;
}

std::string name_of(const std::string& list, const Node& row) {
  const bool is_known = naming_fields(list).front() != "id";
  std::string name;
  for (const std::string& field : naming_fields(list)) {
    const Node* value = row.find(field);
    if (value == nullptr || value->kind != Node::Kind::scalar) continue;
    if (field == "device_class" && value->text == "all") continue;
    name += (name.empty() ? "" : " ") + value->text;
    if (!is_known) break;
  }
  return name;
}

struct ReportLeaf {
  std::string path;
  const Node* value;
};

void flatten(const std::string& path, const std::string& list, const Node& node,
             std::vector<ReportLeaf>& leaves);

// What the row is called by is in its path.
void flatten_row(const std::string& path, const std::string& list, const Node& row,
                 std::vector<ReportLeaf>& leaves) {
  const std::vector<std::string>& naming = naming_fields(list);
  for (const Member& member : row.members) {
    if (std::find(naming.begin(), naming.end(), member.key) == naming.end() ||
        naming.front() == "id")
      flatten(path + "." + member.key, member.key, member.value, leaves);
  }
}

void flatten(const std::string& path, const std::string& list, const Node& node,
             std::vector<ReportLeaf>& leaves) {
  switch (node.kind) {
    case Node::Kind::null:
    case Node::Kind::scalar: leaves.push_back({path, &node}); return;
    case Node::Kind::mapping:
      for (const Member& member : node.members)
        flatten(path.empty() ? member.key : path + "." + member.key, member.key, member.value,
                leaves);
      return;
    case Node::Kind::sequence: {
      std::set<std::string> taken;
      for (std::size_t i = 0; i < node.items.size(); ++i) {
        const Node& item = node.items[i];
        std::string name = item.kind == Node::Kind::mapping ? name_of(list, item) : "";
        const bool is_named = !name.empty() && taken.insert(name).second;
        if (!is_named) name = fmt::format("{}", i);
        const std::string row = fmt::format("{}[{}]", path, name);
        if (is_named) {
          flatten_row(row, list, item, leaves);
        } else {
          flatten(row, list, item, leaves);
        }
      }
      return;
    }
  }
}

std::vector<ReportLeaf> leaves_of(const ReportFile& report) {
  std::vector<ReportLeaf> leaves;
  flatten("", "", report.root, leaves);
  return leaves;
}

bool equal(const Node& a, const Node& b) {
  return a.kind == b.kind && a.text == b.text && a.quoted == b.quoted;
}

std::string last_name(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos || path.find(']', dot) != std::string::npos
             ? path.substr(0, path.find('['))
             : path.substr(dot + 1);
}

// b / a - 1 of two numbers.
std::optional<double> ratio_of(const FieldDifference& one) {
  if (!is_number(one.a) || !is_number(one.b)) return {};
  const double a = parse_real(one.a->text).value();
  const double b = parse_real(one.b->text).value();
  if (a == 0) return {};
  return b / a - 1;
}

Json json_of(const Node* value) { return value == nullptr ? Json(nullptr) : value_json(*value); }

Json row_json(const FieldDifference& one) {
  const std::optional<double> ratio = ratio_of(one);
  return {{"field", one.path},
          {"a", json_of(one.a)},
          {"b", json_of(one.b)},
          {"change_ratio", ratio ? Json(*ratio) : Json(nullptr)},
          {"only_in", one.a == nullptr   ? Json("b")
                      : one.b == nullptr ? Json("a")
                                         : Json(nullptr)}};
}

std::string shown(const FieldDifference& one, const Node* value) {
  if (value == nullptr) return "(not there)";
  std::string text = printable(shown_value(last_name(one.path), value));
  constexpr std::size_t widest = 20;
  if (text.size() > widest) text = text.substr(0, widest - 3) + "...";
  return text;
}

}  // namespace

ReportDiff diff_reports(const ReportFile& a, const ReportFile& b) {
  if (a.kind != b.kind) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{b.name},
                           {},
                           fmt::format("is a report of kind {}, and {} one of kind {}", b.kind,
                                       printable(a.name), a.kind),
                           "two reports of one kind can be compared"});
  }
  ReportDiff diff{&a, &b, {}, 0};
  const std::vector<ReportLeaf> left = leaves_of(a);
  const std::vector<ReportLeaf> right = leaves_of(b);
  std::map<std::string, const Node*> others;
  for (const ReportLeaf& leaf : right) others.emplace(leaf.path, leaf.value);
  std::set<std::string> both;
  for (const ReportLeaf& leaf : left) {
    const auto other = others.find(leaf.path);
    if (other == others.end()) {
      diff.differences.push_back({leaf.path, leaf.value, nullptr});
      continue;
    }
    both.insert(leaf.path);
    if (equal(*leaf.value, *other->second)) {
      ++diff.equal;
    } else {
      diff.differences.push_back({leaf.path, leaf.value, other->second});
    }
  }
  for (const ReportLeaf& leaf : right) {
    if (!both.contains(leaf.path)) diff.differences.push_back({leaf.path, nullptr, leaf.value});
  }
  return diff;
}

DiffLimit::DiffLimit(const std::string& text) : field_(text) {
  // The last '=': a row's name may hold others.
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || text.find(']', equals) != std::string::npos) return;
  field_ = text.substr(0, equals);
  const Parsed<double> ratio = parse_real(text.substr(equals + 1));
  if (field_.empty() || !ratio || !(ratio.value() >= 0) || std::isinf(ratio.value())) {
    throw Error(ErrorKind::usage, fmt::format("--fail-on {} is not a limit", printable(text)),
                "any, FIELD or FIELD=RATIO: --fail-on step_time_ps=0.02");
  }
  ratio_ = ratio.value();
}

bool DiffLimit::exceeded_by(const FieldDifference& one) const {
  if (field_ == "any") {
    if (one.path.starts_with("provenance.")) return false;
  } else {
    if (!one.path.starts_with(field_)) return false;
    const char next = one.path.size() == field_.size() ? '\0' : one.path[field_.size()];
    if (next != '\0' && next != '.' && next != '[') return false;
  }
  const std::optional<double> ratio = ratio_of(one);
  return !ratio || std::abs(*ratio) > ratio_;
}

Json diff_json(const ReportDiff& diff, const std::vector<FieldDifference>& failed) {
  Json report = report_head("diff");
  report["a"] = diff.a->name;
  report["b"] = diff.b->name;
  report["compared_kind"] = diff.a->kind;
  report["equal_fields"] = diff.equal;
  report["differences"] = Json::array();
  for (const FieldDifference& one : diff.differences)
    report["differences"].push_back(row_json(one));
  report["failed"] = Json::array();
  for (const FieldDifference& one : failed) report["failed"].push_back(one.path);
  return report;
}

std::string diff_table(const ReportDiff& diff, const std::vector<FieldDifference>& failed) {
  std::string text;
  if (!diff.differences.empty())
    text = fmt::format("{:<52}{:>22}{:>22}{:>12}\n", "field", "a", "b", "");
  for (const FieldDifference& one : diff.differences) {
    const std::optional<double> ratio = ratio_of(one);
    text += fmt::format("{:<52}{:>22}{:>22}{:>12}\n", printable(one.path), shown(one, one.a),
                        shown(one, one.b), ratio ? fmt::format("{:+.2f} %", 100 * *ratio) : "");
  }
  text += fmt::format("{} fields differ, {} are equal ({} reports)\n", diff.differences.size(),
                      diff.equal, diff.a->kind);
  for (const FieldDifference& one : failed)
    text += fmt::format("BEYOND ITS LIMIT: {}\n", printable(one.path));
  return text;
}

}  // namespace meshsim
