// The settings that a kind of computation reads, learnt from watching it.
//
// A result depends on the settings that it read. The key of a result holds the values of all
// settings that any computation of its kind has read so far: two plans that agree on these take the
// same branches, read the same settings, and so have the same result.
//
// Values stand in keys as numbers, by the order in which they were met, and the first value of a
// setting, number 0, is left out. So keys are as short as neighbouring plans are alike, and what is
// remembered under a key stays valid when a computation of its kind reads a setting that none
// before it did: a plan that is then found under it either agrees on what the result had read, or
// has another value of the new setting than any plan before it, which its key shows.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "plans/resolved_config.hpp"
#include "sim/key.hpp"

namespace meshsim {

// The values of a plan's settings as numbers; of those settings that some computation has read.
class SettingValues {
 public:
  // Makes `config` the one at hand.
  void look_at(const ResolvedConfig& config);
  const ResolvedConfig& config() const { return *config_; }

  // From now on the number of this setting is known.
  void watch(std::size_t setting);

  struct Unusual {
    std::uint32_t setting, value;
  };
  const std::vector<Unusual>& unusual() const { return unusual_; }  // whose number is not 0
  std::size_t size() const { return size_; }                        // values

 private:
  struct Value {
    bool builtin = false;
    Node node;
    bool is(const Setting& setting) const;
  };
  struct Watched {
    std::uint32_t setting = 0;
    std::uint32_t latest = 0;  // the number of the value that was met last
    std::vector<Value> values;
  };

  const ResolvedConfig* config_ = nullptr;
  std::vector<Watched> watched_;
  std::vector<bool> is_watched_;
  std::size_t size_ = 0;
  std::vector<Unusual> unusual_;
};

class SettingsRead {
 public:
  // `replaced`: a setting whose value is not for keys; its influence is added to them otherwise.
  explicit SettingsRead(std::string_view replaced = {}) : replaced_(replaced) {}

  template <class Computation>
  auto watch(SettingValues& values, Computation&& computation) {
    struct Learn {
      SettingsRead& self;
      SettingValues& values;
      std::vector<bool> read;
      ~Learn() { self.learn(values, read); }
    } learn{*this, values, {}};
    const ReadTrace trace(learn.read);
    return computation();
  }

  void add_to(Key& key, const SettingValues& values) const;

 private:
  void learn(SettingValues& values, const std::vector<bool>& read);

  std::string_view replaced_;
  std::vector<bool> read_;  // by the index of the setting
};

// The result of `make` under the inputs in `key` and the settings that such results were seen to
// read. Leaves `key` changed.
template <class Value, class Make>
Value& remembered(Memo<Value>& memo, Key& key, SettingsRead& settings, SettingValues& values,
                  const Make& make) {
  const std::size_t inputs = key.words().size();
  settings.add_to(key, values);
  if (Value* known = memo.find(key)) return *known;
  Key inputs_read = key;
  Value made = settings.watch(values, make);
  settings.add_to(inputs_read.cut(inputs), values);
  return memo.insert(inputs_read, std::move(made));
}

// A value of any form.
void add_value(Key& key, const Node& value);

}  // namespace meshsim
