#include "studies/sweep/space.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "inputs/fields.hpp"
#include "inputs/source.hpp"
#include "inputs/yaml.hpp"
#include "plans/own_block.hpp"
#include "topologies/slice.hpp"

namespace meshsim {
namespace {

constexpr std::string_view own_prefix = "meshsim.";

const std::vector<std::string>& machine_names() {
  static const std::vector<std::string> names{"chips", "slices", "devices"};
  return names;
}

// How a value is written on a command line. Quotes stay only where the text would be taken for
// something else without them.
std::string word_of(const Node& value) {
  if (value.kind == Node::Kind::null) return "None";
  if (value.kind != Node::Kind::scalar) return flow_text(value);
  const bool plain = !value.text.empty() && value.text != "None" && !parse_real(value.text) &&
                     !parse_bool(value.text) &&
                     std::string_view("[{\"'").find(value.text.front()) == std::string_view::npos;
  return value.quoted && !plain ? flow_text(value) : value.text;
}

Node scalar(std::int64_t number, const Location& where) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.where = where;
  node.text = fmt::format("{}", number);
  return node;
}

class SpaceReader {
 public:
  explicit SpaceReader(const std::string& path) : path_(path) {}

  SweepSpace read() {
    Node root = parse_yaml(read_source(path_));
    if (root.kind != Node::Kind::mapping) {
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{root.where,
                             {},
                             fmt::format("a space is a mapping (got {})", described(root)),
                             "base: {model_name: ...}, axes: {key: [value, value]}"});
    }
    space_.source = path_;
    for (const Member& member : root.members) {
      if (member.key == "base") {
        read_base(member.value);
      } else if (member.key == "axes") {
        read_axes(member.value);
      } else if (member.key == "where") {
        read_where(member.value);
      } else {
        fault(member.where, member.key, "is not a part of a space", "base, axes or where");
      }
    }
    faults_.throw_if_any();
    check_axes();
    faults_.throw_if_any();
    return std::move(space_);
  }

 private:
  void fault(const Location& where, std::string key, std::string what, std::string hint = {}) {
    faults_.add({where, std::move(key), std::move(what), std::move(hint)});
  }

  bool is_mapping(const Node& node, const std::string& name) {
    if (node.kind == Node::Kind::mapping) return true;
    if (node.kind != Node::Kind::null)
      fault(node.where, name, fmt::format("must be a mapping (got {})", described(node)));
    return false;
  }

  void read_base(const Node& base) {
    if (!is_mapping(base, "base")) return;
    for (const Member& member : base.members) {
      if (member.key == "base_config") {
        read_base_config(member.value);
      } else if (member.key == "meshsim") {
        if (is_mapping(member.value, "base.meshsim")) read_own(member.value);
      } else if (check(member.key, member.value, member.where)) {
        space_.base.assignments.push_back(fmt::format("{}={}", member.key, word_of(member.value)));
        space_.base_places.push_back(member.where);
      }
    }
  }

  void read_own(const Node& block) {
    for (const Member& member : block.members) {
      if (check_own_key(member.key, member.value, member.where, faults_))
        space_.base.own[member.key] = member.value;
    }
  }

  // A plan file below the base, beside the space.
  void read_base_config(const Node& value) {
    if (value.kind != Node::Kind::scalar || value.text.empty()) {
      fault(value.where, "base.base_config",
            fmt::format("must be the path of a file (got {})", described(value)));
      return;
    }
    namespace fs = std::filesystem;
    space_.base.config_file =
        fs::path(value.text).is_absolute()
            ? value.text
            : (fs::path(path_).parent_path() / value.text).lexically_normal().string();
  }

  // Whether `key` can be set to `value` at all.
  bool check(const std::string& key, const Node& value, const Location& where) {
    if (key.starts_with(own_prefix))
      return check_own_key(key.substr(own_prefix.size()), value, where, faults_);
    if (check_setting(key, value, where, faults_) == nullptr) return false;
    if (key != "compile_topology" || value.text.empty() || value.text == "None") return true;
    try {
      slice_by_name(value.text);
    } catch (const Error& error) {
      const Diagnostic& first = error.diagnostics().front();
      fault(value.where, key, first.what, first.hint);
      return false;
    }
    return true;
  }

  void read_axes(const Node& axes) {
    if (!is_mapping(axes, "axes")) return;
    for (const Member& member : axes.members) {
      SpaceAxis axis{member.key, member.where, {}};
      if (member.value.kind == Node::Kind::mapping) {
        read_rule(member, axis);
      } else if (member.value.kind == Node::Kind::sequence) {
        for (const Node& item : member.value.items) add_entry(member, item, axis);
        if (member.value.items.empty())
          fault(member.value.where, "axes." + member.key, "has no entries");
      } else {
        fault(member.value.where, "axes." + member.key,
              fmt::format("must be a list of values, {{powers_of_two: [low, high]}} or "
                          "{{divisors_of: N}} (got {})",
                          described(member.value)));
      }
      if (axis.entries.size() > max_axis_entries)
        fault(member.where, "axes." + member.key,
              fmt::format("has more than {} entries", max_axis_entries));
      space_.axes.push_back(std::move(axis));
    }
  }

  void read_rule(const Member& member, SpaceAxis& axis) {
    Fields fields(member.value, "axes." + member.key, faults_);
    std::vector<std::int64_t> values;
    if (fields.has("powers_of_two")) {
      const std::vector<std::int64_t> range = fields.integers("powers_of_two");
      const Location& where = member.value.find("powers_of_two")->where;
      if (range.size() != 2 || range[0] < 1 || range[1] < range[0]) {
        fault(where, "axes." + member.key + ".powers_of_two",
              "must be [low, high] with 1 <= low <= high");
        return;
      }
      for (std::int64_t power = 1; power <= range[1]; power *= 2) {
        if (power >= range[0]) values.push_back(power);
        if (power > range[1] / 2) break;
      }
      if (values.empty())
        fault(where, "axes." + member.key + ".powers_of_two",
              fmt::format("there is no power of two from {} to {}", range[0], range[1]));
    } else if (fields.has("divisors_of")) {
      constexpr std::int64_t largest = 1'000'000'000'000;
      const std::int64_t number = fields.integer("divisors_of", {1, largest});
      for (std::int64_t d = 1; number >= 1 && d <= number / d; ++d) {
        if (number % d != 0) continue;
        values.push_back(d);
        if (d != number / d) values.push_back(number / d);
      }
      std::sort(values.begin(), values.end());
    } else {
      fault(member.value.where, "axes." + member.key,
            "must be a list of values, {powers_of_two: [low, high]} or {divisors_of: N}");
    }
    fields.finish();
    for (const std::int64_t value : values) add_entry(member, scalar(value, member.where), axis);
  }

  void add_entry(const Member& member, const Node& item, SpaceAxis& axis) {
    Change change;
    if (item.kind == Node::Kind::mapping && !takes_mappings(member.key)) {
      for (const Member& key : item.members) {
        if (check(key.key, key.value, key.where)) change.emplace_back(key.key, word_of(key.value));
      }
    } else if (check(member.key, item, item.where.line > 0 ? item.where : member.where)) {
      change.emplace_back(member.key, word_of(item));
    }
    axis.entries.push_back(std::move(change));
  }

  // A mapping is the value itself where the key takes one.
  static bool takes_mappings(const std::string& key) {
    const KeyInfo* info = KeyTable::instance().find(key);
    return key == "meshsim.software" ||
           (info != nullptr && std::find(info->type.kinds.begin(), info->type.kinds.end(),
                                         KeyType::Kind::mapping) != info->type.kinds.end());
  }

  void read_where(const Node& where) {
    std::vector<std::string> names = machine_names();
    const std::vector<std::string>& keys = KeyTable::instance().names();
    names.insert(names.end(), keys.begin(), keys.end());
    std::vector<Node> conditions = where.items;
    if (where.kind == Node::Kind::scalar) conditions.push_back(where);
    if (where.kind == Node::Kind::mapping)
      fault(where.where, "where", "must be a condition or a list of them (got a mapping)");
    for (const Node& condition : conditions) {
      try {
        space_.where.emplace_back(condition, names);
      } catch (const Error& error) {
        for (const Diagnostic& diagnostic : error.diagnostics()) faults_.add(diagnostic);
      }
    }
  }

  // No key may be set by two axes: which of them would win?
  void check_axes() {
    std::map<std::string, const SpaceAxis*> owner;
    for (const SpaceAxis& axis : space_.axes) {
      std::set<std::string> keys;
      for (const Change& change : axis.entries) {
        for (const auto& [key, value] : change) keys.insert(key);
      }
      for (const std::string& key : keys) {
        const auto [earlier, fresh] = owner.emplace(key, &axis);
        if (!fresh)
          fault(axis.where, "axes." + axis.name,
                fmt::format("'{}' is on the axis '{}' as well", key, earlier->second->name));
      }
    }
  }

  const std::string& path_;
  SweepSpace space_;
  Diagnostics faults_;
};

}  // namespace

SweepSpace read_space(const std::string& path) { return SpaceReader(path).read(); }

}  // namespace meshsim
