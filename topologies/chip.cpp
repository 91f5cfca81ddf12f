#include "topologies/chip.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "inputs/embedded.hpp"
#include "inputs/fields.hpp"
#include "inputs/nearest.hpp"
#include "inputs/yaml.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_topologies();

namespace {

const std::array<std::string, 2> rule_names{"cube multiples", "axes of 16"};

void read_value(Fields& entry, std::int64_t& value) { value = entry.integer("value", {1, 4096}); }
void read_value(Fields& entry, double& value) { value = entry.real("value"); }
void read_value(Fields& entry, Bytes& value) { value = entry.bytes("value"); }
void read_value(Fields& entry, BytesPerSecond& value) { value = entry.bandwidth("value"); }
void read_value(Fields& entry, FlopsPerSecond& value) { value = entry.flop_rate("value"); }
void read_value(Fields& entry, Picoseconds& value) { value = entry.duration("value"); }
void read_value(Fields& entry, std::vector<std::int64_t>& value) {
  value = entry.integers("value");
}
void read_value(Fields& entry, WraparoundRule& value) {
  value = entry.choice("value", rule_names) == rule_names[0] ? WraparoundRule::cube_multiples
                                                             : WraparoundRule::axes_of_16;
}

// Reads the entry {value, source, note} that stands under the key of each constant.
class ConstantReader {
 public:
  ConstantReader(Fields& chip, Diagnostics& faults) : chip_(chip), faults_(faults) {}

  template <class T>
  void operator()(std::string_view key, Sourced<T>& constant) {
    const Node* node = chip_.node(key);
    if (node == nullptr) return;
    Fields entry(*node, std::string(key), faults_);
    read_value(entry, constant.value);
    constant.source = entry.text("source");
    if (entry.has("note")) constant.note = entry.text("note");
    entry.finish();
  }
  template <class T>
  void operator()(std::string_view key, std::optional<Sourced<T>>& constant) {
    if (chip_.has(key)) (*this)(key, constant.emplace());
  }

 private:
  Fields& chip_;
  Diagnostics& faults_;
};

std::vector<std::string> read_aliases(Fields& chip, Diagnostics& faults) {
  if (!chip.has("aliases")) return {};
  const Node& list = *chip.node("aliases");
  std::vector<std::string> names;
  for (const Node& item : list.items) names.push_back(item.text);
  if (names.empty()) faults.add({list.where, "aliases", "must be a list of names", {}});
  return names;
}

std::vector<Chip> read_chips() {
  std::vector<Chip> chips;
  for (const EmbeddedFile& file : embedded_topologies()) {
    if (file.path.ends_with(".yml")) chips.push_back(parse_chip(std::string(file.path), file.text));
  }
  std::sort(chips.begin(), chips.end(),
            [](const Chip& a, const Chip& b) { return a.name < b.name; });
  return chips;
}

const std::vector<Chip>& all_chips() {
  static const std::vector<Chip> chips = read_chips();
  return chips;
}

bool is_called(const Chip& chip, std::string_view name) {
  return chip.name == name ||
         std::find(chip.aliases.begin(), chip.aliases.end(), name) != chip.aliases.end();
}

}  // namespace

Chip parse_chip(const std::string& file, std::string_view text) {
  const Node root = parse_yaml({file, std::string(text)});
  Diagnostics faults;
  Fields fields(root, "", faults);
  Chip chip;
  chip.name = fields.text("name");
  chip.aliases = read_aliases(fields, faults);
  chip.as_of = fields.text("as_of");
  visit_constants(chip, ConstantReader(fields, faults));
  fields.finish();
  faults.throw_if_any();
  return chip;
}

const Chip& find_chip(std::string_view name) {
  for (const Chip& chip : all_chips()) {
    if (is_called(chip, name)) return chip;
  }
  const std::vector<std::string> names = chip_names();
  std::string hint = did_you_mean(name, names, 2);
  if (hint.empty()) {
    hint = "known chips:";
    for (const std::string& known : names) hint += " " + known;
  }
  throw Error(ErrorKind::invalid_input,
              fmt::format("'{}' is not a chip", printable(name.substr(0, 60))), hint);
}

std::vector<std::string> chip_names() {
  std::vector<std::string> names;
  for (const Chip& chip : all_chips()) names.push_back(chip.name);
  return names;
}

std::string_view name(WraparoundRule rule) {
  return rule_names[rule == WraparoundRule::cube_multiples ? 0 : 1];
}

std::int64_t chips_per_host(const Chip& chip) {
  return checked_product(chip.host_shape.value, "chips of a host");
}

std::optional<BytesPerSecond> dcn_bandwidth_per_host(const Chip& chip) {
  if (!chip.dcn_bandwidth) return std::nullopt;
  return chip.dcn_bandwidth->value * static_cast<double>(chips_per_host(chip));
}

FlopsPerSecond per_device(const Chip& chip, FlopsPerSecond per_chip) {
  return per_chip * (1.0 / static_cast<double>(chip.devices_per_chip.value));
}

BytesPerSecond per_device(const Chip& chip, BytesPerSecond per_chip) {
  return per_chip * (1.0 / static_cast<double>(chip.devices_per_chip.value));
}

Bytes per_device(const Chip& chip, Bytes per_chip) {
  return Bytes(per_chip.value() / chip.devices_per_chip.value);
}

std::int64_t tensor_cores_per_device(const Chip& chip) {
  return chip.tensor_cores.value / chip.devices_per_chip.value;
}

}  // namespace meshsim
