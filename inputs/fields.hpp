// Typed, strict reading of a mapping: every key is asked for by name and type, and whatever was not
// asked for is an error. Faults are collected, so that one pass over a file reports them all.
//
//   Diagnostics faults;
//   Fields fields(node, "chip", faults);
//   chip.cores = fields.integer("cores", {1, 16});
//   fields.finish();          // unknown keys
//   faults.throw_if_any();
//
// A getter that records a fault returns a harmless value of its type.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inputs/node.hpp"
#include "units/parse.hpp"

namespace meshsim {

struct IntegerRange {
  std::int64_t least = std::numeric_limits<std::int64_t>::min();
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
};

class Fields {
 public:
  // `path` is how messages call this mapping ("" for the top of a file).
  Fields(const Node& mapping, std::string path, Diagnostics& faults);

  bool has(std::string_view key);

  // Required values; a missing key is a fault.
  std::string text(std::string_view key);
  std::int64_t integer(std::string_view key, IntegerRange range = {});
  double real(std::string_view key);
  bool boolean(std::string_view key);
  std::vector<std::int64_t> integers(std::string_view key);
  std::string choice(std::string_view key, std::span<const std::string> choices);
  const Node* node(std::string_view key);  // nullptr after a fault
  Bytes bytes(std::string_view key);
  BytesPerSecond bandwidth(std::string_view key);
  FlopsPerSecond flop_rate(std::string_view key);
  Picoseconds duration(std::string_view key);

  // Records a fault for every member that no getter (nor `ignore`) has named.
  void ignore(std::string_view key);
  void finish();

 private:
  const Node* scalar(std::string_view key);
  // A scalar that is not a text in quotes; `what` is expected of it.
  const Node* plain_scalar(std::string_view key, std::string_view what);
  std::string full_path(std::string_view key) const;
  void fault(const Node& at, std::string_view key, std::string what, std::string hint = {});
  template <class T>
  T parsed(const Node* found, std::string_view key, Parsed<T> (*parse)(std::string_view));

  const Node& mapping_;
  std::string path_;
  Diagnostics& faults_;
  std::set<std::string, std::less<>> asked_;  // by a getter, or to be ignored
  std::set<std::string, std::less<>> known_;  // these, and what `has` looked for
};

}  // namespace meshsim
