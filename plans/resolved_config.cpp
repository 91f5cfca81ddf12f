#include "plans/resolved_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "inputs/nearest.hpp"
#include "inputs/yaml.hpp"
#include "model_specs/catalogue.hpp"
#include "model_specs/hf_config.hpp"
#include "plans/config_files.hpp"
#include "plans/own_block.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

// A value on the command line or in the environment is a YAML flow value: 4, true, text, [a, b].
// Puts everything below `node` at one place: there are no lines to count.
void put_at(const Location& place, Node& node) {
  node.where = place;
  for (Node& item : node.items) put_at(place, item);
  for (Member& member : node.members) {
    member.where = place;
    put_at(place, member.value);
  }
}

// Nothing, after a fault.
std::optional<Node> flow_value(const std::string& key, const std::string& text,
                               const std::string& from, Diagnostics& faults) {
  const bool structured = !text.empty() && (text.front() == '[' || text.front() == '{' ||
                                            text.front() == '"' || text.front() == '\'');
  Node value;
  try {
    if (structured) {
      value = parse_yaml({from, text});
    } else {
      check_text({from, text});
      value.kind = Node::Kind::scalar;
      value.text = text;
    }
  } catch (const Error& error) {
    // There are no lines here to look at; the hints are for files.
    for (const Diagnostic& fault : error.diagnostics()) faults.add({{from}, key, fault.what, {}});
    return std::nullopt;
  }
  put_at({from}, value);
  return value;
}

std::string upper(std::string_view key) {
  std::string text(key);
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return text;
}

// Lays the sources over each other and collects their faults.
class Resolver {
 public:
  explicit Resolver(const PlanRequest& request) : request_(request), table_(KeyTable::instance()) {
    for (const KeyInfo& key : table_.keys())
      settings_[key.name] = {key.name, key.default_value, Origin::builtin};
  }

  ResolvedConfig run() {
    read_files();
    read_command_line();
    read_environment();
    own_flags();
    faults_.throw_if_any();
    read_model();
    apply(environment_, Origin::environment);
    apply(command_line_, Origin::command_line);
    faults_.throw_if_any();
    check_model_conflicts();
    faults_.throw_if_any();
    merge_rules();
    single_out_moe_block();
    read_calibration();
    finish_model();
    for (auto& [key, setting] : settings_) config_.settings.push_back(std::move(setting));
    return std::move(config_);
  }

 private:
  using Values = std::map<std::string, Node>;

  // The table's entry for `key`, after its value was checked; nullptr after a fault.
  const KeyInfo* accept(const std::string& key, const Node& value, const Location& where) {
    // Nobody sees the hints beyond the cap, and each costs a walk over all names.
    const bool seen = unknown_ < Diagnostics::cap;
    if (table_.find(key) == nullptr) ++unknown_;
    return check_setting(key, value, where, faults_, seen);
  }

  void read_files() {
    if (request_.config_file.empty()) return;
    ConfigFiles files = read_config_files(request_.config_file);
    config_.notes = std::move(files.notes);
    for (const Node& file : files.files) {
      for (const Member& member : file.members) {
        if (member.key == "meshsim") {
          read_own_block(member.value);
        } else if (accept(member.key, member.value, member.where) != nullptr) {
          settings_[member.key] = {member.key, member.value, Origin::config_file};
        }
      }
    }
  }

  void read_own_block(const Node& block) {
    if (block.kind != Node::Kind::mapping) {
      faults_.add({block.where,
                   "meshsim",
                   fmt::format("must be a mapping (got {})", described(block)),
                   {}});
      return;
    }
    for (const Member& member : block.members) {
      if (check_own_key(member.key, member.value, member.where, faults_)) {
        config_.own[member.key] = {member.key, member.value, Origin::config_file};
      }
    }
  }

  void own_flags() {
    for (const auto& [key, value] : request_.own) {
      if (check_own_key(key, value, value.where, faults_)) {
        config_.own[key] = {key, value, Origin::command_line};
      }
    }
  }

  void read_command_line() {
    int position = 0;
    for (const std::string& assignment : request_.assignments) {
      ++position;
      const std::string from = fmt::format("<command line>:{}", position);
      const std::size_t equals = assignment.find('=');
      if (equals == std::string::npos || equals == 0) {
        faults_.add({{from},
                     {},
                     fmt::format("{} is not key=value", in_quotes(assignment)),
                     position == 1 ? "a config file comes first and must exist" : ""});
        continue;
      }
      const std::string key = assignment.substr(0, equals);
      if (const auto earlier = command_line_.find(key); earlier != command_line_.end()) {
        faults_.add({{from},
                     key,
                     "stands twice on the command line",
                     fmt::format("it first stands at {}", earlier->second.where.file)});
        continue;
      }
      const auto value = flow_value(key, assignment.substr(equals + 1), from, faults_);
      if (value && accept(key, *value, {from}) != nullptr) command_line_[key] = *value;
    }
  }

  void read_environment() {
    std::map<std::string, std::string> by_variable;
    for (const std::string& key : table_.names()) by_variable["M_" + upper(key)] = key;
    for (const auto& [variable, text] : request_.environment) {
      const Location where{"<environment> " + variable};
      const auto known = by_variable.find(variable);
      if (known == by_variable.end()) {
        std::vector<std::string> variables;
        for (const auto& [name, key] : by_variable) variables.push_back(name);
        faults_.add(
            {where, {}, "is not the variable of a MaxText key", did_you_mean(variable, variables)});
        continue;
      }
      const std::string& key = known->second;
      const auto value = flow_value(key, text, where.file, faults_);
      if (!value || accept(key, *value, where) == nullptr) continue;
      if (command_line_.contains(key)) {
        faults_.add({where, key, "is set by the environment and by the command line",
                     "keep one of the two"});
      }
      environment_[key] = *value;
    }
  }

  void apply(const Values& values, Origin origin) {
    for (const auto& [key, value] : values) settings_[key] = {key, value, origin};
  }

  const Node& model_name() const {
    for (const Values* values : {&command_line_, &environment_}) {
      if (const auto found = values->find("model_name"); found != values->end())
        return found->second;
    }
    return settings_.at("model_name").value;
  }

  void read_model() {
    const Node& named = model_name();
    if (!request_.hf_config.empty()) {
      if (named.where.file.starts_with('<')) {  // a file's model_name may stand below a flag
        throw Error(ErrorKind::invalid_input,
                    Diagnostic{named.where, "model_name", "and --hf both name a model",
                               "keep one of the two"});
      }
      config_.model = read_hf_config(request_.hf_config);
    } else if (named.text != "default") {
      config_.model = find_named_model(named);
    } else {
      config_.model.name = "default";
      config_.model.source = "the keys of the plan";
      config_.model.meshsim.kind = Node::Kind::mapping;
    }
    for (const Member& member : config_.model.maxtext.members) {
      if (accept(member.key, member.value, member.where) == nullptr) continue;
      settings_[member.key] = {member.key, member.value, Origin::model_file};
    }
  }

  static ModelSource find_named_model(const Node& named) {
    try {
      return find_model(named.text);
    } catch (const Error& error) {
      const Diagnostic& fault = error.diagnostics().front();
      throw Error(error.kind(), Diagnostic{named.where, "model_name", fault.what, fault.hint});
    }
  }

  void check_model_conflicts() {
    if (flag("override_model_config")) return;
    for (const Member& member : config_.model.maxtext.members) {
      for (const Values* values : {&command_line_, &environment_}) {
        const auto found = values->find(member.key);
        if (found == values->end()) continue;
        faults_.add({found->second.where, member.key,
                     fmt::format("is set by the file of model {} as well (to {})",
                                 config_.model.name, flow_text(member.value)),
                     "override_model_config=true lets this value win"});
      }
    }
  }

  bool flag(const std::string& key) const {
    return parse_bool(settings_.at(key).value.text).value();
  }

  // Stated logical_axis_rules replace the default rules of the names that they mention, and leave
  // the others alone; with override_logical_axis_rules they are the whole list.
  void merge_rules() {
    Setting& stated = settings_.at("logical_axis_rules");
    if (stated.origin == Origin::builtin || flag("override_logical_axis_rules")) return;
    std::set<std::string> renewed;
    for (const Node& rule : stated.value.items) {
      if (!rule.items.empty()) renewed.insert(rule.items.front().text);
    }
    Node merged = table_.find("logical_axis_rules")->default_value;
    std::erase_if(merged.items,
                  [&](const Node& rule) { return renewed.contains(rule.items.front().text); });
    merged.items.insert(merged.items.end(), stated.value.items.begin(), stated.value.items.end());
    merged.where = stated.value.where;
    stated.value = std::move(merged);
  }

  // A MoE block alone is a form of the model, as its own file would state it.
  void single_out_moe_block() {
    const auto block = config_.own.find("moe_block");
    if (block == config_.own.end()) return;
    const Node& stated = block->second.value;
    Node alone;
    alone.kind = Node::Kind::scalar;
    alone.text = "true";
    alone.where = stated.where;
    put_in_model("single_moe_block", alone);
    if (const Node* width = stated.find("shared_expert_mlp_dim")) {
      put_in_model("shared_expert_mlp_dim", *width);
    }
  }

  // A path that a plan file states is relative to that file, as base_config is.
  void read_calibration() {
    const auto stated = config_.own.find("calibration");
    if (stated == config_.own.end()) return;
    const Node& path = stated->second.value;
    const bool in_file = stated->second.origin == Origin::config_file;
    const std::string found = in_file ? relative_to(path.where.file, path.text) : path.text;
    config_.calibration =
        std::make_shared<const Calibration>(parse_calibration(read_source(found)));
  }

  void put_in_model(const std::string& key, const Node& value) {
    std::vector<Member>& members = config_.model.meshsim.members;
    std::erase_if(members, [&](const Member& member) { return member.key == key; });
    members.push_back({key, value.where, value});
  }

  // The model is built from the final values of its keys, whoever set them.
  void finish_model() {
    config_.model.maxtext = Node{};
    config_.model.maxtext.kind = Node::Kind::mapping;
    config_.model.maxtext.where = {"model " + config_.model.name};
    for (const std::string& key : model_config_keys()) {
      const Setting& setting = settings_.at(key);
      if (setting.origin == Origin::builtin) continue;
      config_.model.maxtext.members.push_back({key, setting.value.where, setting.value});
    }
  }

  const PlanRequest& request_;
  const KeyTable& table_;
  std::map<std::string, Setting> settings_;
  Values command_line_;
  Values environment_;
  Diagnostics faults_;
  std::size_t unknown_ = 0;  // keys
  ResolvedConfig config_;
};

}  // namespace

std::string_view name(Origin origin) {
  switch (origin) {
    case Origin::builtin: return "default";
    case Origin::config_file: return "config_file";
    case Origin::model_file: return "model_file";
    case Origin::environment: return "environment";
    case Origin::command_line: return "command_line";
  }
  return "";
}

namespace {

thread_local ReadTrace* innermost_trace = nullptr;

// Where the settings of a configuration stand, by key: a hash table with open addressing, since
// every plan of a sweep asks it dozens of times.
class Places {
 public:
  static constexpr std::size_t nowhere = ~std::size_t{0};

  Places() : slots_(size, empty) {
    const std::vector<std::string>& names = KeyTable::instance().names();
    for (std::size_t i = 0; i < names.size(); ++i) {
      std::size_t slot = slot_of(names[i]);
      while (slots_[slot] != empty) slot = (slot + 1) % size;
      slots_[slot] = static_cast<std::uint16_t>(i);
    }
  }

  // `is_there(i)`: whether the key stands at i.
  template <class IsThere>
  std::size_t find(std::string_view key, const IsThere& is_there) const {
    for (std::size_t slot = slot_of(key); slots_[slot] != empty; slot = (slot + 1) % size) {
      if (is_there(std::size_t{slots_[slot]})) return slots_[slot];
    }
    return nowhere;
  }

 private:
  static constexpr std::uint16_t empty = 0xffff;
  static constexpr std::size_t size = 4096;  // a few times the keys

  // From the length and eight characters at the begin, in the middle and at the end.
  static std::size_t slot_of(std::string_view key) {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
    const std::size_t width = std::min(key.size(), sizeof(std::uint64_t));
    std::uint64_t hash = key.size();
    for (const std::size_t at : {std::size_t{0}, (key.size() - width) / 2, key.size() - width}) {
      std::uint64_t part = 0;
      if (width > 0) std::memcpy(&part, key.data() + at, width);
      hash = (hash ^ part) * odd;
      hash ^= hash >> 32U;
    }
    return hash % size;
  }

  std::vector<std::uint16_t> slots_;
};

}  // namespace

ReadTrace::ReadTrace(std::vector<bool>& read) : read_(read), outer_(innermost_trace) {
  innermost_trace = this;
}

ReadTrace::~ReadTrace() { innermost_trace = outer_; }

const Setting& ResolvedConfig::at(std::string_view key) const {
  static const Places places;
  // A configuration has the settings of the table, in its order.
  const std::size_t index = places.find(
      key, [&](std::size_t i) { return i < settings.size() && settings[i].key == key; });
  if (index == Places::nowhere) {
    throw Error(ErrorKind::internal, fmt::format("no key '{}' in the table", key));
  }
  for (ReadTrace* trace = innermost_trace; trace != nullptr; trace = trace->outer_) {
    if (trace->read_.size() <= index) trace->read_.resize(settings.size());
    trace->read_[index] = true;
  }
  return settings[index];
}

std::int64_t ResolvedConfig::integer(std::string_view key) const {
  return parse_integer(at(key).value.text).value();
}
double ResolvedConfig::real(std::string_view key) const {
  return parse_real(at(key).value.text).value();
}
bool ResolvedConfig::boolean(std::string_view key) const {
  return parse_bool(at(key).value.text).value();
}
std::string ResolvedConfig::text(std::string_view key) const {
  const Node& value = at(key).value;
  return value.kind == Node::Kind::scalar && value.text != "None" ? value.text : std::string();
}
bool ResolvedConfig::is_default(std::string_view key) const {
  return at(key).origin == Origin::builtin;
}

void ResolvedConfig::set(std::string_view key, std::int64_t value) {
  Node& node = settings[static_cast<std::size_t>(&at(key) - settings.data())].value;
  node.kind = Node::Kind::scalar;
  node.quoted = false;
  node.text = fmt::format("{}", value);
}

Error ResolvedConfig::refusal(std::string_view key, std::string what, std::string hint) const {
  return {ErrorKind::invalid_input,
          Diagnostic{at(key).value.where, std::string(key), std::move(what), std::move(hint)}};
}

const KeyInfo* check_setting(const std::string& key, const Node& value, const Location& where,
                             Diagnostics& faults, bool suggest) {
  const KeyTable& table = KeyTable::instance();
  const KeyInfo* info = table.find(key);
  if (info == nullptr) {
    constexpr std::size_t longest = 60;
    const std::string shown = key.size() > longest ? key.substr(0, longest) + "..." : key;
    faults.add(
        {where, shown, "is not a MaxText key", suggest ? did_you_mean(key, table.names()) : ""});
    return nullptr;
  }
  if (info->use == KeyUse::derived) {
    faults.add({where, key, "cannot be set: " + info->reason, {}});
    return nullptr;
  }
  KeyTable::check(*info, value, faults);
  if (info->use == KeyUse::fixed && !info->is_default(value)) {
    faults.add({where, key,
                fmt::format("is not modelled (got {}, want {})", described(value),
                            described(info->default_value)),
                fmt::format("it would need {}", info->reason)});
  }
  return info;
}

ResolvedConfig resolve_config(const PlanRequest& request) { return Resolver(request).run(); }

}  // namespace meshsim
