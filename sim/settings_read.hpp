// The settings that a kind of computation reads, learnt from watching it.
//
// A result depends on the settings that it read. The key of a result holds the values of all
// settings that any computation of its kind has read so far: two plans that agree on these take the
// same branches, read the same settings, and so have the same result. When a computation reads a
// setting that none before it did, keys grow, and what was remembered under the shorter ones is not
// found again.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plans/resolved_config.hpp"
#include "sim/key.hpp"

namespace meshsim {

class SettingsRead {
 public:
  // `replaced`: a setting whose value is not for keys; its influence is added to them otherwise.
  explicit SettingsRead(std::string_view replaced = {}) : replaced_(replaced) {}

  template <class Computation>
  auto watch(const ResolvedConfig& config, Computation&& computation) {
    struct Learn {
      SettingsRead& self;
      const ResolvedConfig& config;
      std::vector<bool> read;
      ~Learn() { self.learn(config, read); }
    } learn{*this, config, {}};
    const ReadTrace trace(learn.read);
    return computation();
  }

  void add_to(Key& key, const ResolvedConfig& config) const;

 private:
  void learn(const ResolvedConfig& config, const std::vector<bool>& read);

  std::string_view replaced_;
  std::vector<std::size_t> settings_;  // ascending
};

// A value of any form.
void add_value(Key& key, const Node& value);

}  // namespace meshsim
