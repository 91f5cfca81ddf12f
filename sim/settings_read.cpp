#include "sim/settings_read.hpp"

#include <algorithm>

namespace meshsim {
namespace {

bool same_value(const Node& a, const Node& b) {
  const auto same_item = [](const Node& x, const Node& y) { return same_value(x, y); };
  const auto same_member = [](const Member& x, const Member& y) {
    return x.key == y.key && same_value(x.value, y.value);
  };
  return a.kind == b.kind && a.text == b.text &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), same_item) &&
         std::equal(a.members.begin(), a.members.end(), b.members.begin(), b.members.end(),
                    same_member);
}

}  // namespace

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

bool SettingValues::Value::is(const Setting& setting) const {
  return builtin == (setting.origin == Origin::builtin) && same_value(node, setting.value);
}

void SettingValues::look_at(const ResolvedConfig& config) {
  config_ = &config;
  unusual_.clear();
  for (Watched& watched : watched_) {
    const Setting& setting = config.settings[watched.setting];
    if (!watched.values[watched.latest].is(setting)) {
      const auto known = std::find_if(watched.values.begin(), watched.values.end(),
                                      [&](const Value& value) { return value.is(setting); });
      watched.latest = static_cast<std::uint32_t>(known - watched.values.begin());
      if (known == watched.values.end()) {
        watched.values.push_back({setting.origin == Origin::builtin, setting.value});
        ++size_;
      }
    }
    if (watched.latest != 0) unusual_.push_back({watched.setting, watched.latest});
  }
}

void SettingValues::watch(std::size_t setting) {
  is_watched_.resize(config_->settings.size());
  if (is_watched_[setting]) return;
  is_watched_[setting] = true;
  const Setting& first = config_->settings[setting];
  Watched watched;
  watched.setting = static_cast<std::uint32_t>(setting);
  watched.values.push_back({first.origin == Origin::builtin, first.value});
  watched_.push_back(std::move(watched));
}

void SettingsRead::learn(SettingValues& values, const std::vector<bool>& read) {
  read_.resize(values.config().settings.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (!read[i] || read_[i] || values.config().settings[i].key == replaced_) continue;
    read_[i] = true;
    values.watch(i);
  }
}

void SettingsRead::add_to(Key& key, const SettingValues& values) const {
  if (read_.empty()) return;
  for (const SettingValues::Unusual& one : values.unusual()) {
    if (read_[one.setting])
      key.add(static_cast<std::int64_t>(one.setting) << 32 | static_cast<std::int64_t>(one.value));
  }
}

}  // namespace meshsim
