#include "reports/chip_constants.hpp"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "topologies/slice.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

using Json = nlohmann::ordered_json;

// A value as JSON, with what its unit appends to the key.
struct JsonValue {
  std::string_view unit;
  Json value;
};

// Rates are published as whole numbers of B/s or FLOP/s; as such they read better than 2.765e+12.
JsonValue json_of(Bytes bytes) { return {"_bytes", bytes.value()}; }
JsonValue json_of(BytesPerSecond rate) { return {"_bytes_per_s", std::llround(rate.value())}; }
JsonValue json_of(FlopsPerSecond rate) { return {"_flops_per_s", std::llround(rate.value())}; }
JsonValue json_of(Picoseconds time) { return {"_ps", time.value()}; }
JsonValue json_of(std::int64_t count) { return {"", count}; }
JsonValue json_of(double hertz) { return {"", std::llround(hertz)}; }  // its key ends in _hz
JsonValue json_of(WraparoundRule rule) { return {"", name(rule)}; }
JsonValue json_of(const std::vector<std::int64_t>& shape) { return {"", shape}; }

std::string text_of(Bytes bytes) { return human(bytes); }
std::string text_of(BytesPerSecond rate) { return human(rate); }
std::string text_of(FlopsPerSecond rate) { return human(rate); }
std::string text_of(Picoseconds time) { return human(time); }
std::string text_of(std::int64_t count) { return fmt::format("{}", count); }
std::string text_of(double hertz) { return fmt::format("{:.4g}", hertz); }
std::string text_of(WraparoundRule rule) { return std::string(name(rule)); }
std::string text_of(const std::vector<std::int64_t>& shape) { return shape_text(shape); }

// Turns a visitor of constants that are there into one that also takes optional ones.
template <class Present, class Absent>
struct ConstantVisitor {
  Present present;
  Absent absent;

  template <class T>
  void operator()(std::string_view key, const Sourced<T>& constant) const {
    present(key, constant);
  }
  template <class T>
  void operator()(std::string_view key, const std::optional<Sourced<T>>& constant) const {
    if (constant) {
      present(key, *constant);
    } else {
      absent(key);
    }
  }
};

template <class Present, class Absent>
void for_each_constant(const Chip& chip, Present present, Absent absent) {
  visit_constants(chip, ConstantVisitor<Present, Absent>{std::move(present), std::move(absent)});
}

}  // namespace

Json constants_json(const Chip& chip) {
  Json constants = Json::array();
  const auto add = [&](std::string_view key, const auto& constant) {
    JsonValue value = json_of(constant.value);
    Json entry = {{"name", fmt::format("{}{}", key, value.unit)},
                  {"value", std::move(value.value)},
                  {"source", constant.source}};
    if (!constant.note.empty()) entry["note"] = constant.note;
    constants.push_back(std::move(entry));
  };
  for_each_constant(chip, add, [](std::string_view) {});
  return constants;
}

std::vector<std::string> not_published(const Chip& chip) {
  std::vector<std::string> keys;
  for_each_constant(
      chip, [](std::string_view, const auto&) {},
      [&](std::string_view key) { keys.emplace_back(key); });
  return keys;
}

std::string constants_table(const Chip& chip) {
  std::string text;
  const auto line = [&](std::string_view key, std::string_view value, std::string_view source) {
    text += fmt::format("  {:<20} {:<16} {}", key, value, source);
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  for_each_constant(
      chip,
      [&](std::string_view key, const auto& constant) {
        line(key, text_of(constant.value), constant.source);
        if (!constant.note.empty()) line("", "", fmt::format("({})", constant.note));
      },
      [&](std::string_view key) { line(key, "not published", ""); });
  return text;
}

}  // namespace meshsim
