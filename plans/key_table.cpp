#include "plans/key_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <stdexcept>

#include "inputs/embedded.hpp"
#include "inputs/json.hpp"
#include "inputs/nearest.hpp"
#include "inputs/yaml.hpp"
#include "units/parse.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_plans();

namespace {

using Kind = KeyType::Kind;

Source embedded(std::string_view path) {
  for (const EmbeddedFile& file : embedded_plans()) {
    if (file.path == path) return {std::string(file.path), std::string(file.text)};
  }
  throw std::logic_error("no embedded file " + std::string(path));
}

// "A | B | None" and "Optional[A]" as their alternatives, brackets respected.
std::vector<std::string> alternatives(std::string_view type) {
  if (type.starts_with("Optional[") && type.ends_with("]")) {
    std::vector<std::string> inner = alternatives(type.substr(9, type.size() - 10));
    inner.emplace_back("None");
    return inner;
  }
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : type) {
    depth += (c == '[') - (c == ']');
    if (c == '|' && depth == 0) {
      parts.emplace_back();
    } else if (c != ' ' || depth > 0) {
      parts.back() += c;
    }
  }
  return parts;
}

// The names in "Literal['a', 'b']".
std::vector<std::string> literal_names(std::string_view type) {
  std::vector<std::string> names;
  while (true) {
    const std::size_t open = type.find('\'');
    if (open == std::string_view::npos) return names;
    const std::size_t close = type.find('\'', open + 1);
    names.emplace_back(type.substr(open + 1, close - open - 1));
    type.remove_prefix(close + 1);
  }
}

using Choices = std::map<std::string, std::vector<std::string>, std::less<>>;

struct Alternative {
  Kind kind = Kind::any;
  std::vector<std::string> choices;
  std::optional<double> least;
  std::optional<double> above;
};

Alternative alternative(const std::string& name, const Choices& enumerations) {
  if (name == "int") return {Kind::integer, {}, {}, {}};
  if (name == "NonNegativeInt") return {Kind::integer, {}, 0, {}};
  if (name == "PositiveInt") return {Kind::integer, {}, 1, {}};
  if (name == "float") return {Kind::real, {}, {}, {}};
  if (name == "NonNegativeFloat") return {Kind::real, {}, 0, {}};
  if (name == "bool") return {Kind::boolean, {}, {}, {}};
  if (name.starts_with("list")) return {Kind::list, {}, {}, {}};
  if (name.starts_with("dict")) return {Kind::mapping, {}, {}, {}};
  if (name == "Any" || name == "CustomRule") return {Kind::any, {}, {}, {}};
  if (name.starts_with("Literal[")) return {Kind::text, literal_names(name), {}, {}};
  if (const auto found = enumerations.find(name); found != enumerations.end()) {
    const bool numbers = std::all_of(
        found->second.begin(), found->second.end(),
        [](const std::string& choice) { return static_cast<bool>(parse_integer(choice)); });
    return {numbers ? Kind::integer : Kind::text, found->second, {}, {}};
  }
  return {Kind::text, {}, {}, {}};  // str, PathStr, and enumerations whose members are not listed
}

double number(const Node& node) { return parse_real(node.text).value(); }

// "list[int]": of integers.
std::optional<Kind> element_kind(const std::string& list) {
  if (list == "list[int]") return Kind::integer;
  if (list == "list[str]") return Kind::text;
  return {};
}

void set_type(KeyInfo& key, const Node& declared, const std::string& type,
              const Choices& enumerations) {
  for (const std::string& name : alternatives(type)) {
    if (name == "None") {
      key.type.nullable = true;
      continue;
    }
    Alternative a = alternative(name, enumerations);
    key.type.kinds.push_back(a.kind);
    if (a.kind == Kind::list) key.type.element = element_kind(name);
    key.type.choices.insert(key.type.choices.end(), a.choices.begin(), a.choices.end());
    if (a.least) key.range.least = a.least;
  }
  if (const Node* ge = declared.find("ge")) key.range.least = number(*ge);
  if (const Node* le = declared.find("le")) key.range.most = number(*le);
  if (const Node* gt = declared.find("gt")) key.range.above = number(*gt);
}

void set_range(KeyRange& range, const Node& stated) {
  if (const Node* least = stated.find("least")) range.least = number(*least);
  if (const Node* most = stated.find("most")) range.most = number(*most);
  if (const Node* above = stated.find("above")) range.above = number(*above);
  if (const Node* excluded = stated.find("not")) range.excluded = number(*excluded);
}

// Defaults of keys outside base.yml are the source's Python literals.
Node python_literal(const Node& node) {
  Node value = node;
  if (node.kind == Node::Kind::scalar && node.quoted) {
    const std::string& text = node.text;
    if (text == "None") return {};
    value.quoted = text.size() >= 2 && text.front() == '\'';
    if (value.quoted) value.text = text.substr(1, text.size() - 2);
    if (text == "True" || text == "False") value.text = text == "True" ? "true" : "false";
  }
  return value;
}

// base.yml writes None for "unset".
bool is_none(const Node& value) {
  return value.kind == Node::Kind::null ||
         (value.kind == Node::Kind::scalar && value.text == "None");
}

// Whether Python would call the two equal: False and false, 4 and 4.0, 'tpu' and tpu.
bool same_value(const Node& a, const Node& b) {
  if (is_none(a) && is_none(b)) return true;
  if (a.kind != Node::Kind::scalar || b.kind != Node::Kind::scalar) {
    return flow_text(a) == flow_text(b);
  }
  const auto left = parse_real(a.text);
  const auto right = parse_real(b.text);
  if (left && right) return left.value() == right.value();
  const auto yes = parse_bool(a.text);
  const auto no = parse_bool(b.text);
  if (yes && no) return yes.value() == no.value();
  return a.text == b.text;
}

std::string kind_name(Kind kind) {
  switch (kind) {
    case Kind::integer: return "an integer";
    case Kind::real: return "a number";
    case Kind::boolean: return "true or false";
    case Kind::text: return "text";
    case Kind::list: return "a list";
    case Kind::mapping: return "a mapping";
    case Kind::any: return "anything";
  }
  return "";
}

// Why `value` is not of `kind`, or "" if it is; numbers are put into `parsed`.
std::string mismatch(Kind kind, const Node& value, std::optional<double>& parsed) {
  const bool scalar = value.kind == Node::Kind::scalar;
  const std::string got = fmt::format("must be {} (got {})", kind_name(kind), described(value));
  switch (kind) {
    case Kind::integer: {
      if (!scalar || value.quoted) return got;
      const Parsed<std::int64_t> integer = parse_integer(value.text);
      if (!integer) return integer.why();
      parsed = static_cast<double>(integer.value());
      return {};
    }
    case Kind::real: {
      if (!scalar || value.quoted) return got;
      const Parsed<double> real = parse_real(value.text);
      if (!real) return real.why();
      parsed = real.value();
      return {};
    }
    case Kind::boolean:
      if (!scalar || value.quoted) return got;
      return parse_bool(value.text) ? std::string() : parse_bool(value.text).why();
    case Kind::text: return scalar || value.kind == Node::Kind::null ? std::string() : got;
    case Kind::list: return value.kind == Node::Kind::sequence ? std::string() : got;
    case Kind::mapping: return value.kind == Node::Kind::mapping ? std::string() : got;
    case Kind::any: return {};
  }
  return got;
}

std::string range_fault(const KeyRange& range, double value, const std::string& text) {
  if (range.least && value < *range.least)
    return fmt::format("must be at least {} (got {})", *range.least, text);
  if (range.most && value > *range.most)
    return fmt::format("must be at most {} (got {})", *range.most, text);
  if (range.above && value <= *range.above)
    return fmt::format("must be above {} (got {})", *range.above, text);
  if (range.excluded && value == *range.excluded) {
    const std::string unset = range.least == -1.0 ? ", want -1 or a positive degree" : "";
    return fmt::format("must not be {} (got {}{})", *range.excluded, text, unset);
  }
  return {};
}

void check_elements(const KeyInfo& key, const Node& list, Diagnostics& faults) {
  const bool integers = *key.type.element == Kind::integer;
  for (const Node& item : list.items) {
    std::optional<double> ignored;
    const bool fine =
        item.kind == Node::Kind::scalar &&
        (integers ? mismatch(Kind::integer, item, ignored).empty() : !item.text.empty());
    if (fine) continue;
    faults.add({item.where.line > 0 ? item.where : list.where,
                key.name,
                fmt::format("must hold {} only (got {})", integers ? "integers" : "names",
                            described(item)),
                {}});
  }
}

// key -> why, from a mapping; and the set of names in a list of lists.
std::map<std::string, std::string> reasons(const Node& mapping) {
  std::map<std::string, std::string> all;
  for (const Member& member : mapping.members) all[member.key] = member.value.text;
  return all;
}

std::set<std::string> names_in(const Node& list) {
  std::set<std::string> all;
  for (const Node& item : list.items) {
    if (item.kind == Node::Kind::scalar) all.insert(item.text);
    for (const Node& inner : item.items) all.insert(inner.text);
  }
  return all;
}

}  // namespace

KeyTable::KeyTable() {
  const Node data = parse_json(embedded("plans/maxtext_keys.json"));
  const Node notes = parse_yaml(embedded("plans/key_notes.yml"));

  Choices enumerations;
  for (const Member& member : data.find("choices")->members) {
    for (const Node& choice : member.value.items) enumerations[member.key].push_back(choice.text);
  }
  // The code accepts these beside the declared enumeration (MaxText, August 2026).
  for (const char* policy :
       {"none", "minimal_with_context", "minimal_flash", "minimal_with_quantization",
        "minimal_with_context_and_quantization"}) {
    enumerations["RematPolicy"].emplace_back(policy);
  }

  const std::set<std::string> modelled = names_in(*notes.find("modelled"));
  const std::set<std::string> modelled_groups = names_in(*notes.find("modelled_groups"));
  const std::set<std::string> derived_groups = names_in(*notes.find("derived_groups"));
  const std::map<std::string, std::string> ignored = reasons(*notes.find("ignored_groups"));
  const std::map<std::string, std::string> fixed = reasons(*notes.find("fixed"));

  const Node& base = *data.find("keys");
  const Node& beside = *data.find("not_in_base_yml");
  for (const Member& declared : data.find("types")->members) {
    KeyInfo key;
    key.name = declared.key;
    const Node* own_type = notes.find("types")->find(key.name);
    set_type(key, declared.value, (own_type ? own_type : declared.value.find("type"))->text,
             enumerations);
    if (const Node* range = notes.find("ranges")->find(key.name)) set_range(key.range, *range);
    const Node* in_base = base.find(key.name);
    const Node* in_beside = beside.find(key.name);
    if (in_base != nullptr) key.default_value = *in_base;
    if (in_beside != nullptr) key.default_value = python_literal(*in_beside);
    if (key.type.nullable && is_none(key.default_value)) key.default_value = {};
    if (key.default_value.kind == Node::Kind::null) key.type.nullable = true;
    key.default_value.where = {};  // a default stands in no file of the user's

    const std::string group = declared.value.find("group")->text;
    if (modelled.contains(key.name) || modelled_groups.contains(group)) {
      key.use = KeyUse::modelled;
    } else if (derived_groups.contains(group)) {
      key.use = KeyUse::derived;
      key.reason = "MaxText derives it from other keys";
    }
    if (const auto found = fixed.find(key.name); found != fixed.end()) {
      key.use = KeyUse::fixed;
      key.reason = found->second;
    } else if (key.use == KeyUse::ignored) {
      key.reason = ignored.at(group);
    }
    keys_.push_back(std::move(key));
  }
  std::sort(keys_.begin(), keys_.end(),
            [](const KeyInfo& a, const KeyInfo& b) { return a.name < b.name; });
  for (const KeyInfo& key : keys_) names_.push_back(key.name);
}

const KeyTable& KeyTable::instance() {
  static const KeyTable table;
  return table;
}

const KeyInfo* KeyTable::find(std::string_view name) const {
  const auto at = std::lower_bound(names_.begin(), names_.end(), name);
  return at != names_.end() && *at == name ? &keys_[static_cast<std::size_t>(at - names_.begin())]
                                           : nullptr;
}

bool KeyInfo::is_default(const Node& value) const {
  const bool unset = is_none(value) && type.nullable && default_value.text.empty();
  return unset || same_value(value, default_value);
}

void KeyTable::check(const KeyInfo& key, const Node& value, Diagnostics& faults) {
  if (key.type.nullable && is_none(value)) return;
  std::string widest_mismatch;  // of the last kind: `int | float` wants a number
  for (const Kind kind : key.type.kinds) {
    std::optional<double> parsed;
    const std::string why = mismatch(kind, value, parsed);
    if (!why.empty()) {
      widest_mismatch = why;
      continue;
    }
    const std::vector<std::string>& choices = key.type.choices;
    const bool listed = kind == Kind::text && !choices.empty();
    if (listed && std::find(choices.begin(), choices.end(), value.text) == choices.end()) {
      faults.add(
          {value.where, key.name,
           fmt::format("must be one of {} (got {})", fmt::join(choices, ", "), described(value)),
           did_you_mean(value.text, choices, 2)});
      return;
    }
    if (kind == Kind::list && key.type.element) check_elements(key, value, faults);
    if (parsed) {
      std::string fault = range_fault(key.range, *parsed, value.text);
      if (!fault.empty()) faults.add({value.where, key.name, std::move(fault), {}});
    }
    return;
  }
  faults.add({value.where, key.name, std::move(widest_mismatch), {}});
}

}  // namespace meshsim
