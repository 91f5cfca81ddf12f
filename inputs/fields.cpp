#include "inputs/fields.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "inputs/nearest.hpp"

namespace meshsim {

Fields::Fields(const Node& mapping, std::string path, Diagnostics& faults)
    : mapping_(mapping), path_(std::move(path)), faults_(faults) {
  if (mapping_.kind != Node::Kind::mapping) {
    faults_.add({mapping_.where,
                 path_,
                 fmt::format("must be a mapping (got {})", described(mapping_)),
                 {}});
  }
}

bool Fields::has(std::string_view key) {
  known_.emplace(key);
  return mapping_.find(key) != nullptr;
}

std::string Fields::full_path(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::fault(const Node& at, std::string_view key, std::string what, std::string hint) {
  faults_.add({at.where, full_path(key), std::move(what), std::move(hint)});
}

const Node* Fields::node(std::string_view key) {
  ignore(key);
  const Node* found = mapping_.find(key);
  if (found == nullptr && mapping_.kind == Node::Kind::mapping) fault(mapping_, key, "is missing");
  return found;
}

const Node* Fields::scalar(std::string_view key) {
  const Node* found = node(key);
  if (found == nullptr) return nullptr;
  if (found->kind != Node::Kind::scalar) {
    fault(*found, key, fmt::format("must be a single value (got {})", described(*found)));
    return nullptr;
  }
  return found;
}

template <class T>
T Fields::parsed(const Node* found, std::string_view key, Parsed<T> (*parse)(std::string_view)) {
  if (found == nullptr) return {};
  const Parsed<T> value = parse(found->text);
  if (value) return value.value();
  fault(*found, key, value.why());
  return {};
}

std::string Fields::text(std::string_view key) {
  const Node* found = scalar(key);
  return found == nullptr ? std::string() : found->text;
}

const Node* Fields::plain_scalar(std::string_view key, std::string_view what) {
  const Node* found = scalar(key);
  if (found == nullptr || !found->quoted) return found;
  fault(*found, key, fmt::format("must be {} (got the text {})", what, described(*found)));
  return nullptr;
}

std::int64_t Fields::integer(std::string_view key, IntegerRange range) {
  const std::int64_t harmless = std::clamp<std::int64_t>(1, range.least, range.most);
  const Node* found = plain_scalar(key, "an integer");
  if (found == nullptr) return harmless;
  const Parsed<std::int64_t> value = parse_integer(found->text);
  if (!value) {
    fault(*found, key, value.why());
  } else if (value.value() < range.least) {
    fault(*found, key, fmt::format("must be at least {} (got {})", range.least, value.value()));
  } else if (value.value() > range.most) {
    fault(*found, key, fmt::format("must be at most {} (got {})", range.most, value.value()));
  } else {
    return value.value();
  }
  return harmless;
}

double Fields::real(std::string_view key) {
  return parsed(plain_scalar(key, "a number"), key, parse_real);
}
bool Fields::boolean(std::string_view key) {
  return parsed(plain_scalar(key, "true or false"), key, parse_bool);
}
// Quantities may stand in quotes: JSON has no other way to write them.
Bytes Fields::bytes(std::string_view key) { return parsed(scalar(key), key, parse_bytes); }
BytesPerSecond Fields::bandwidth(std::string_view key) {
  return parsed(scalar(key), key, parse_bandwidth);
}
FlopsPerSecond Fields::flop_rate(std::string_view key) {
  return parsed(scalar(key), key, parse_flop_rate);
}
Picoseconds Fields::duration(std::string_view key) {
  return parsed(scalar(key), key, parse_duration);
}

std::vector<std::int64_t> Fields::integers(std::string_view key) {
  const Node* found = node(key);
  if (found == nullptr) return {};
  if (found->kind != Node::Kind::sequence) {
    fault(*found, key, fmt::format("must be a list of integers (got {})", described(*found)));
    return {};
  }
  std::vector<std::int64_t> values;
  for (const Node& item : found->items) {
    const Parsed<std::int64_t> value = parse_integer(item.text);
    if (item.kind != Node::Kind::scalar || item.quoted) {
      fault(item, key, fmt::format("must hold integers only (got {})", described(item)));
    } else if (!value) {
      fault(item, key, fmt::format("holds what {}", value.why()));
    } else {
      values.push_back(value.value());
    }
  }
  return values;
}

std::string Fields::choice(std::string_view key, std::span<const std::string> choices) {
  const Node* found = scalar(key);
  if (found == nullptr) return choices.front();
  if (std::find(choices.begin(), choices.end(), found->text) != choices.end()) return found->text;
  fault(*found, key,
        fmt::format("must be one of {} (got {})", fmt::join(choices, ", "), described(*found)),
        did_you_mean(found->text, choices, 2));
  return choices.front();
}

void Fields::ignore(std::string_view key) {
  asked_.emplace(key);
  known_.emplace(key);
}

void Fields::finish() {
  const std::vector<std::string> known(known_.begin(), known_.end());
  std::size_t unknown = 0;
  for (const Member& member : mapping_.members) {
    if (asked_.contains(member.key)) continue;
    // Nobody sees the hints beyond the cap, and each costs a walk over all known names.
    std::string hint = ++unknown <= Diagnostics::cap ? did_you_mean(member.key, known) : "";
    faults_.add({member.where, full_path(member.key), "is not a known key", std::move(hint)});
  }
}

}  // namespace meshsim
