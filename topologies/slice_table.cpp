#include "topologies/slice_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "inputs/embedded.hpp"
#include "inputs/fields.hpp"
#include "inputs/json.hpp"
#include "inputs/nearest.hpp"
#include "units/error.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_topologies();

namespace {

constexpr std::size_t names_offered = 2;

// "v5p-512" as (v5p, 512), where the number is one.
struct NameParts {
  std::string family;
  std::optional<std::int64_t> number;
};

NameParts split_name(std::string_view name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string_view::npos) return {std::string(name), std::nullopt};
  const Parsed<std::int64_t> number = parse_integer(name.substr(dash + 1));
  return {std::string(name.substr(0, dash)), number ? std::optional(number.value()) : std::nullopt};
}

std::vector<bool> read_flags(Fields& row, std::string_view key, std::size_t count) {
  const Node* list = row.node(key);
  std::vector<bool> flags;
  for (std::size_t i = 0; list != nullptr && i < std::min(count, list->items.size()); ++i) {
    flags.push_back(list->items[i].text == "true");
  }
  flags.resize(count, false);
  return flags;
}

Slice read_slice(const Member& member, Diagnostics& faults) {
  Fields row(member.value, "slices." + member.key, faults);
  Slice slice;
  slice.name = member.key;
  slice.chip = &find_chip(split_name(member.key).family);
  slice.shape = row.integers("shape");
  // The table has three flags even for a chip whose slices are flat.
  slice.wraparound = read_flags(row, "wraparound", slice.shape.size());
  slice.chips_per_host = row.integers("chips_per_host");
  row.ignore("megacore");
  const std::int64_t devices = row.integer("devices");
  row.finish();
  if (slice.devices() != devices) {
    faults.add({member.where,
                "slices." + member.key,
                fmt::format("has {} devices, but its shape has {}", devices, slice.devices()),
                {}});
  }
  return slice;
}

std::vector<Slice> read_embedded_table() {
  for (const EmbeddedFile& file : embedded_topologies()) {
    if (file.path.ends_with("slices.json")) return parse_slices(std::string(file.path), file.text);
  }
  throw Error(ErrorKind::internal, "slices.json is not compiled in");
}

// The names of the first slices by `key(slice)`, ascending; ties in the order of the table.
template <class Key>
std::vector<std::string> first_names(std::vector<const Slice*> slices, Key key) {
  std::stable_sort(slices.begin(), slices.end(),
                   [&](const Slice* a, const Slice* b) { return key(*a) < key(*b); });
  std::vector<std::string> names;
  for (const Slice* slice : slices) {
    if (names.size() < names_offered) names.push_back(slice->name);
  }
  return names;
}

std::vector<const Slice*> slices_of_family(std::string_view family) {
  std::vector<const Slice*> members;
  for (const Slice& slice : named_slices()) {
    if (slice.chip->name == family) members.push_back(&slice);
  }
  return members;
}

std::vector<std::string> nearest_by_shape(const std::vector<std::int64_t>& shape) {
  std::int64_t chips = 1;
  for (const std::int64_t size : shape) chips = size > max_chips / chips ? max_chips : chips * size;
  std::vector<const Slice*> all;
  for (const Slice& slice : named_slices()) all.push_back(&slice);
  return first_names(std::move(all), [&](const Slice& slice) {
    return std::pair(slice.shape != shape, std::abs(slice.chips() - chips));
  });
}

}  // namespace

std::vector<Slice> parse_slices(const std::string& file, std::string_view text) {
  const Node root = parse_json({file, std::string(text)});
  Diagnostics faults;
  Fields fields(root, "", faults);
  for (const char* key : {"schema", "source", "note"}) fields.ignore(key);
  std::vector<Slice> slices;
  if (const Node* table = fields.node("slices")) {
    for (const Member& member : table->members) slices.push_back(read_slice(member, faults));
  }
  fields.finish();
  faults.throw_if_any();
  return slices;
}

std::span<const Slice> named_slices() {
  static const std::vector<Slice> slices = read_embedded_table();
  return slices;
}

std::string canonical_slice_name(std::string_view name) {
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::string(name);
  for (const std::string& chip_name : chip_names()) {
    const std::vector<std::string>& aliases = find_chip(chip_name).aliases;
    if (std::find(aliases.begin(), aliases.end(), name.substr(0, dash)) != aliases.end()) {
      return chip_name + std::string(name.substr(dash));
    }
  }
  return std::string(name);
}

std::vector<std::string> nearest_slice_names(const std::string& name) {
  const NameParts parts = split_name(name);
  std::vector<const Slice*> family = slices_of_family(parts.family);
  if (!family.empty()) {
    const std::int64_t wanted = parts.number.value_or(0);
    return first_names(std::move(family), [&](const Slice& slice) {
      return std::abs(split_name(slice.name).number.value_or(0) - wanted);
    });
  }
  if (const auto shape = parse_shape(name)) return nearest_by_shape(shape.value());
  std::vector<std::string> names;
  for (const Slice& slice : named_slices()) names.push_back(slice.name);
  return nearest(name, names, names_offered);
}

}  // namespace meshsim
