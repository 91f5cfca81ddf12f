// Every key that MaxText accepts: its type, default, range, and what meshsim does with it.
//
// Source: maxtext_keys.json (key names, defaults and types of MaxText, August 2026) and
// key_notes.yml (ours).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inputs/node.hpp"

namespace meshsim {

enum class KeyUse { modelled, fixed, ignored, derived };

// A declared Python type as far as values on a command line can show it.
struct KeyType {
  enum class Kind { integer, real, boolean, text, list, mapping, any };
  std::vector<Kind> kinds;           // a value of any of these is accepted
  std::optional<Kind> element;       // of the items of a list
  bool nullable = false;             // None is accepted
  std::vector<std::string> choices;  // of text; empty: any
};

struct KeyRange {
  std::optional<double> least, most, above;
  std::optional<double> excluded;
};

struct KeyInfo {
  std::string name;
  KeyType type;
  KeyRange range;
  Node default_value;
  KeyUse use = KeyUse::ignored;
  std::string reason;  // why it is ignored, or what a non-default value would need

  bool is_default(const Node& value) const;  // however it is written
};

class KeyTable {
 public:
  // The table of the data files. Built once.
  static const KeyTable& instance();

  const KeyInfo* find(std::string_view name) const;
  const std::vector<KeyInfo>& keys() const { return keys_; }  // sorted by name
  const std::vector<std::string>& names() const { return names_; }

  // Records a fault at `value` unless it has the key's type and range. `shown` is how the message
  // calls the key.
  static void check(const KeyInfo& key, const Node& value, Diagnostics& faults);

 private:
  KeyTable();
  std::vector<KeyInfo> keys_;
  std::vector<std::string> names_;
};

}  // namespace meshsim
