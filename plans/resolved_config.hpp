// A MaxText configuration after all its sources have spoken: every key with its value and where
// that value came from.
//
// Precedence, weakest first: MaxText's defaults; the config file with its `base_config:` chain; the
// model's own file; the command line or the environment (M_<KEY>). A key that the model's file sets
// and the command line or the environment sets too is an error unless override_model_config=true; a
// key that both the command line and the environment set is always an error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model_specs/model_spec.hpp"
#include "plans/key_table.hpp"
#include "topologies/calibration.hpp"

namespace meshsim {

enum class Origin { builtin, config_file, model_file, environment, command_line };
std::string_view name(Origin origin);

struct Setting {
  std::string key;
  Node value;
  Origin origin = Origin::builtin;
};

// What the user gave, before any of it is looked at.
struct PlanRequest {
  std::string config_file;               // "" or a path; a missing .../base.yml means the defaults
  std::vector<std::string> assignments;  // "key=value", as on the command line
  std::map<std::string, std::string> environment;  // variables that start with M_
  std::string hf_config;                           // "" or the path of a Hugging Face config.json
  // What MaxText has no key for: "name" -> value; the same names stand in a plan file's meshsim:
  // block.
  std::map<std::string, Node> own;
};

// Notes which settings are read while it lives, by this thread and of any configuration: what the
// result of a computation depends on. Traces may nest; each notes what happens while it lives.
class ReadTrace {
 public:
  explicit ReadTrace(std::vector<bool>& read);  // by the index of the setting
  ~ReadTrace();
  ReadTrace(const ReadTrace&) = delete;
  ReadTrace& operator=(const ReadTrace&) = delete;

 private:
  friend class ResolvedConfig;
  std::vector<bool>& read_;
  ReadTrace* outer_;
};

class ResolvedConfig {
 public:
  const Setting& at(std::string_view key) const;  // every key of the table is here
  std::int64_t integer(std::string_view key) const;
  double real(std::string_view key) const;
  bool boolean(std::string_view key) const;
  std::string text(std::string_view key) const;  // "" for None
  bool is_default(std::string_view key) const;
  void set(std::string_view key, std::int64_t value);  // keeps the origin

  std::vector<Setting> settings;       // sorted by key
  std::map<std::string, Setting> own;  // the meshsim: block and its flags
  ModelSource model;                   // its maxtext: block holds the final values
  std::shared_ptr<const Calibration> calibration = builtin_calibration();
  std::vector<std::string> notes;  // for the user: "base.yml was not found: ..."

  // A fault at the value of `key`, to be thrown by who finds it.
  Error refusal(std::string_view key, std::string what, std::string hint = {}) const;
};

// The table's entry for `key`, or nullptr after a fault: an unknown key (with the nearest names,
// unless !suggest), one that cannot be set, a value of the wrong type or out of range. A value that
// is not modelled is a fault as well, but the entry is returned.
const KeyInfo* check_setting(const std::string& key, const Node& value, const Location& where,
                             Diagnostics& faults, bool suggest = true);

// Throws Error(invalid_input) with every fault of each source: unknown keys (nearest names), wrong
// types, ranges, conflicts, include cycles; Error(io) for a file that cannot be read.
ResolvedConfig resolve_config(const PlanRequest& request);

}  // namespace meshsim
