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

bool Fields::has(std::string_view key) const { return mapping_.find(key) != nullptr; }

void Fields::fault(const Node& at, std::string_view key, std::string what, std::string hint) {
  std::string full = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  faults_.add({at.where, std::move(full), std::move(what), std::move(hint)});
}

const Node* Fields::node(std::string_view key) {
  asked_.emplace(key);
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
T Fields::parsed(std::string_view key, Parsed<T> (*parse)(std::string_view)) {
  const Node* found = scalar(key);
  if (found == nullptr) return {};
  const Parsed<T> value = parse(found->text);
  if (!value) {
    fault(*found, key, value.why());
    return {};
  }
  return value.value();
}

std::string Fields::text(std::string_view key) {
  const Node* found = scalar(key);
  return found == nullptr ? std::string() : found->text;
}

std::int64_t Fields::integer(std::string_view key, IntegerRange range) {
  const Node* found = scalar(key);
  if (found == nullptr) return std::max<std::int64_t>(range.least, 1);
  if (found->quoted) {
    fault(*found, key, fmt::format("must be an integer (got the text {})", described(*found)));
    return std::max<std::int64_t>(range.least, 1);
  }
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
  return std::max<std::int64_t>(range.least, 1);
}

double Fields::real(std::string_view key) { return parsed<double>(key, parse_real); }
bool Fields::boolean(std::string_view key) { return parsed<bool>(key, parse_bool); }
Bytes Fields::bytes(std::string_view key) { return parsed<Bytes>(key, parse_bytes); }
BytesPerSecond Fields::bandwidth(std::string_view key) {
  return parsed<BytesPerSecond>(key, parse_bandwidth);
}
FlopsPerSecond Fields::flop_rate(std::string_view key) {
  return parsed<FlopsPerSecond>(key, parse_flop_rate);
}
Picoseconds Fields::duration(std::string_view key) {
  return parsed<Picoseconds>(key, parse_duration);
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
    if (item.kind != Node::Kind::scalar || item.quoted || !value) {
      fault(item, key, fmt::format("must hold integers only (got {})", described(item)));
      return {};
    }
    values.push_back(value.value());
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

void Fields::ignore(std::string_view key) { asked_.emplace(key); }

void Fields::finish() {
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const Member& member : mapping_.members) {
    if (asked_.contains(member.key)) continue;
    std::string full = path_.empty() ? member.key : fmt::format("{}.{}", path_, member.key);
    faults_.add(
        {member.where, std::move(full), "is not a known key", did_you_mean(member.key, known)});
  }
}

}  // namespace meshsim
