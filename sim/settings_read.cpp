#include "sim/settings_read.hpp"

#include <algorithm>

namespace meshsim {

void add_value(Key& key, const Node& value) {
  key.add(static_cast<std::int64_t>(value.kind)).add(value.text);
  key.add(static_cast<std::int64_t>(value.items.size()));
  for (const Node& item : value.items) add_value(key, item);
  key.add(static_cast<std::int64_t>(value.members.size()));
  for (const Member& member : value.members) {
    key.add(member.key);
    add_value(key, member.value);
  }
}

void SettingsRead::learn(const ResolvedConfig& config, const std::vector<bool>& read) {
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (!read[i] || config.settings[i].key == replaced_) continue;
    const auto at = std::lower_bound(settings_.begin(), settings_.end(), i);
    if (at == settings_.end() || *at != i) settings_.insert(at, i);
  }
}

void SettingsRead::add_to(Key& key, const ResolvedConfig& config) const {
  key.add(static_cast<std::int64_t>(settings_.size()));
  for (const std::size_t i : settings_) {
    const Setting& setting = config.settings[i];
    const Node& value = setting.value;
    key.add(setting.origin == Origin::builtin ? 1 : 0);
    if (value.items.empty() && value.members.empty()) {
      key.add(static_cast<std::int64_t>(value.kind)).add(value.text);
    } else {
      add_value(key, value);
    }
  }
}

}  // namespace meshsim
