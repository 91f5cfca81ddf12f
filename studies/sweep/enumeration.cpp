#include "studies/sweep/enumeration.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "topologies/slice.hpp"
#include "units/checked.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

constexpr std::size_t machine_variables = 3;  // chips, slices, devices
// The keys that say on which machine a plan runs.
constexpr std::array<const char*, 4> machine_keys{"compile_topology", "compile_topology_num_slices",
                                                  "num_slices", "meshsim.slice_shape"};

// The error of a base, at its lines in the file of the space.
[[noreturn]] void throw_at_its_places(const SweepSpace& space, const Error& error) {
  std::vector<Diagnostic> diagnostics = error.diagnostics();
  constexpr std::string_view prefix = "<command line>:";
  for (Diagnostic& diagnostic : diagnostics) {
    const std::string_view file = diagnostic.where.file;
    if (!file.starts_with(prefix)) continue;
    const auto position = parse_integer(file.substr(prefix.size()));
    const auto places = static_cast<std::int64_t>(space.base_places.size());
    if (position && position.value() >= 1 && position.value() <= places)
      diagnostic.where = space.base_places[static_cast<std::size_t>(position.value() - 1)];
  }
  throw Error(error.kind(), std::move(diagnostics));
}

// "meshsim.slice_shape" of a base as text.
std::string own_text(const PlanRequest& base, const std::string& key) {
  const auto found = base.own.find(key);
  if (found == base.own.end()) return "";
  const Node& value = found->second;
  return value.kind == Node::Kind::scalar ? value.text : flow_text(value);
}

std::vector<std::int64_t> shape_of(const std::string& text) {
  if (const auto shape = parse_shape(text)) return shape.value();
  std::vector<std::int64_t> shape;  // [4, 8, 8]
  std::string digits;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      digits += c;
    } else if (!digits.empty()) {
      shape.push_back(parse_integer(digits).value());
      digits.clear();
    }
  }
  return shape;
}

ChosenMachine machine_of(const std::vector<std::string>& texts) {
  const std::string& topology = texts[0];
  const std::string& shape = texts[3];
  if (topology.empty() && shape.empty()) return {};
  std::int64_t slices = 1;
  for (const std::size_t key : {1, 2}) {
    const auto stated = parse_integer(texts[key]);
    if (!stated || stated.value() == -1) continue;
    slices = stated.value();
    break;
  }
  const Slice named = topology.empty() ? Slice{} : slice_by_name(topology);
  const Slice slice =
      shape.empty()
          ? named
          : slice_by_shape(topology.empty() ? find_chip("v5p") : *named.chip, shape_of(shape));
  return {checked_multiply(slice.chips(), slices, "chips"), slices,
          checked_multiply(slice.devices(), slices, "devices")};
}

}  // namespace

Change change_of(const SweepSpace& space, const Choice& choice) {
  Change change;
  find_change(space, choice, change);
  return change;
}

void find_change(const SweepSpace& space, const Choice& choice, Change& change) {
  std::size_t words = 0;
  for (std::size_t axis = 0; axis < choice.size(); ++axis) {
    for (const auto& word : space.axes[axis].entries[choice[axis]]) {
      if (words == change.size()) change.emplace_back();
      if (change[words] != word) change[words] = word;
      ++words;
    }
  }
  change.resize(words);
}

Enumeration::Enumeration(const SweepSpace& space)
    : space_(space), names_{"chips", "slices", "devices"} {
  for (const Expression& expression : space.where) {
    for (const std::string& name : expression.variables()) {
      if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
    }
  }
  read_axes();
  read_defaults();
  read_conditions();
  choice_.assign(space.axes.size(), 0);
}

void Enumeration::read_axes() {
  for (const SpaceAxis& stated : space_.axes) {
    Axis& axis = axes_.emplace_back();
    for (const Change& change : stated.entries) {
      Entry& entry = axis.entries.emplace_back();
      for (const auto& [key, text] : change) {
        const auto name = std::find(names_.begin() + machine_variables, names_.end(), key);
        if (name != names_.end()) {
          const auto variable = static_cast<std::size_t>(name - names_.begin());
          Node node;
          node.kind = Node::Kind::scalar;
          node.text = text;
          Value value = value_of(node);
          if (value.kind == Value::Kind::text) value = Value::of(text);  // that of the space stays
          entry.variables.push_back({variable, value});
          axis.variables.push_back(variable);
        }
        for (std::size_t i = 0; i < machine_keys.size(); ++i) {
          if (key == machine_keys[i]) entry.machine[i] = text == "None" ? "" : text;
        }
        axis.sets_machine = axis.sets_machine || !entry.machine.empty();
        if (key == "model_name") entry.model = text;
        axis.sets_model = axis.sets_model || key == "model_name";
      }
    }
    if (axis.sets_machine) last_machine_axis_ = axes_.size() - 1;
  }
}

void Enumeration::read_defaults() {
  std::vector<std::string> models{""};
  for (const Axis& axis : axes_) {
    if (!axis.sets_model) continue;
    for (const Entry& entry : axis.entries) {
      if (!entry.model.empty()) models.push_back(entry.model);
    }
  }
  for (const std::string& model : models) {
    if (defaults_.contains(model)) continue;
    const Change change = model.empty() ? Change{} : Change{{"model_name", model}};
    try {
      configs_.emplace(model, resolve_config(changed(space_.base, change)));
    } catch (const Error& error) {
      if (model.empty() || error.kind() != ErrorKind::invalid_input)
        throw_at_its_places(space_, error);
      // Every plan of this model is refused, for this reason; its conditions see the base alone.
    }
    const auto found = configs_.find(model);
    const ResolvedConfig& config = found == configs_.end() ? configs_.at("") : found->second;
    std::vector<Value>& values = defaults_[model];
    for (std::size_t i = 0; i < names_.size(); ++i)
      values.push_back(i < machine_variables ? Value() : value_of(config.at(names_[i]).value));
    models_differ_ = models_differ_ || !(values == defaults_.at(""));
  }
  const ResolvedConfig& base = configs_.at("");
  for (const char* key : machine_keys) {
    const std::string name(key);
    base_machine_.push_back(name == "meshsim.slice_shape" ? own_text(space_.base, "slice_shape")
                                                          : base.text(name));
  }
  now_ = &defaults_.at("");
  values_ = *now_;
}

void Enumeration::read_conditions() {
  // Per variable, how many axes must be chosen before its value is known.
  std::vector<std::size_t> level(names_.size(), 0);
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    for (const std::size_t variable : axes_[i].variables) level[variable] = i + 1;
    for (std::size_t v = 0; v < names_.size(); ++v) {
      const bool of_machine = v < machine_variables;
      if (of_machine ? axes_[i].sets_machine : axes_[i].sets_model && models_differ_)
        level[v] = std::max(level[v], i + 1);
    }
  }
  conditions_.resize(axes_.size() + 1);
  for (const Expression& expression : space_.where) {
    Condition condition{&expression, {}, {}};
    std::size_t latest = 0;
    for (const std::string& name : expression.variables()) {
      const auto variable =
          static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
      condition.variables.push_back(variable);
      latest = std::max(latest, level[variable]);
    }
    conditions_[latest].push_back(std::move(condition));
  }
}

// Makes `entry` the choice of `axis`. What later axes have left in the values is renewed before it
// is read.
void Enumeration::choose(std::size_t axis, std::uint32_t entry) {
  choice_[axis] = entry;
  const Axis& a = axes_[axis];
  if (a.sets_model) now_ = &defaults_.at(a.entries[entry].model);
  for (const std::size_t variable : a.variables) values_[variable] = (*now_)[variable];
  if (a.sets_model && models_differ_) {
    std::copy(now_->begin() + machine_variables, now_->end(), values_.begin() + machine_variables);
    for (std::size_t i = 0; i < axis; ++i) {
      for (const Assigned& assigned : axes_[i].entries[choice_[i]].variables)
        values_[assigned.variable] = assigned.value;
    }
  }
  for (const Assigned& assigned : a.entries[entry].variables)
    values_[assigned.variable] = assigned.value;
  if (axis == last_machine_axis_) find_machine();
}

// Of the base and the axes that have a say, when the last of those is chosen.
void Enumeration::find_machine() {
  std::vector<std::string> texts = base_machine_;
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    if (!axes_[i].sets_machine) continue;
    for (const auto& [key, text] : axes_[i].entries[choice_[i]].machine) texts[key] = text;
  }
  auto found = machines_.find(texts);
  if (found == machines_.end()) found = machines_.emplace(texts, machine_of(texts)).first;
  machine_ = found->second;
  values_[0] = Value::of(machine_.chips);
  values_[1] = Value::of(machine_.slices);
  values_[2] = Value::of(machine_.devices);
}

bool Enumeration::holds(std::size_t chosen) const {
  return std::all_of(conditions_[chosen].begin(), conditions_[chosen].end(),
                     [&](const Condition& condition) {
                       condition.values.clear();
                       for (const std::size_t variable : condition.variables)
                         condition.values.push_back(&values_[variable]);
                       return condition.expression->holds(condition.values);
                     });
}

std::optional<std::int64_t> Enumeration::count() {
  std::size_t walked = axes_.size();
  const std::size_t of_machine = last_machine_axis_ == no_axis ? 0 : last_machine_axis_ + 1;
  while (walked > of_machine && conditions_[walked].empty()) --walked;
  std::int64_t each = 1;
  for (std::size_t axis = walked; axis < axes_.size(); ++axis)
    each = checked_multiply(each, static_cast<std::int64_t>(axes_[axis].entries.size()), "plans");
  std::int64_t choices = 0;
  while (advance(walked)) ++choices;
  if (stopped_) return {};
  return checked_multiply(choices, each, "plans");
}

bool Enumeration::advance(std::size_t axes) {
  std::size_t axis = 0;  // to be chosen next
  std::uint32_t entry = 0;
  if (!started_) {
    started_ = true;
    if (last_machine_axis_ == no_axis) find_machine();
    if (!holds(0)) {
      choice_.clear();
      return false;
    }
    if (axes == 0) return true;
  } else {
    if (choice_.empty() || axes == 0) return false;
    axis = axes - 1;
    entry = choice_[axis] + 1;
  }
  constexpr std::uint64_t now_and_then = 4096;
  while (true) {
    if (++steps_ % now_and_then == 0 && stop_ && stop_()) {
      stopped_ = true;
      choice_.clear();
      return false;
    }
    if (entry < axes_[axis].entries.size()) {
      choose(axis, entry);
      if (!holds(axis + 1)) {
        ++entry;
        continue;
      }
      if (axis + 1 == axes) return true;
      ++axis;
      entry = 0;
      continue;
    }
    if (axis == 0) {
      choice_.clear();
      return false;
    }
    --axis;
    entry = choice_[axis] + 1;
  }
}

}  // namespace meshsim
