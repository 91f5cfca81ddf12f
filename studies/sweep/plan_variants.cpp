#include "studies/sweep/plan_variants.hpp"

#include <algorithm>

#include "model_specs/model_config.hpp"
#include "plans/plan_steps.hpp"

namespace meshsim {
namespace {

constexpr std::size_t most_placed = 128;

Setting& setting_at(ResolvedConfig& config, const std::string& key) {
  return config.settings[static_cast<std::size_t>(&config.at(key) - config.settings.data())];
}

// A value that is its own text, as the command line reads it.
bool is_plain(const std::string& value) {
  if (value.empty() || std::string_view("[{\"'").find(value.front()) != std::string_view::npos)
    return false;
  return std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c <= '~'; });
}

ConfigHash term(const Setting& setting) {
  return ConfigHash::of(setting.key, flow_text(setting.value));
}

}  // namespace

PlanVariants::PlanVariants(const PlanRequest& base)
    : base_(base),
      not_in_place_{"model_name", "override_model_config", "logical_axis_rules",
                    "override_logical_axis_rules"} {
  const auto keys = model_config_keys();
  not_in_place_.insert(keys.begin(), keys.end());
}

PlanVariants::Placed& PlanVariants::placed(const Change& fixed, const std::string& key) {
  if (const auto known = by_key_.find(key); known != by_key_.end()) {
    latest_.splice(latest_.begin(), latest_, known->second);
    return latest_.front();
  }
  Placed made;
  made.key = key;
  Plan& plan = made.plan;
  plan.config = resolve_config(changed(base_, fixed));
  plan.model = make_model_spec(plan.config.model);
  // Also what is read before a fault is found: with it in place there may be none.
  struct Learn {
    PlanVariants& self;
    const ResolvedConfig& config;
    std::vector<bool> read;
    ~Learn() {
      for (std::size_t i = 0; i < config.settings.size(); ++i) {
        const Setting& setting = config.settings[i];
        if ((i < read.size() && read[i]) || setting.origin == Origin::model_file)
          self.not_in_place_.insert(setting.key);
      }
    }
  };
  {
    Learn learn{*this, plan.config, {}};
    const ReadTrace trace(learn.read);
    place_plan(plan);
  }
  made.place_assumptions = plan.assumptions.size();
  made.hash = hash_of(plan.config);
  latest_.push_front(std::move(made));
  by_key_[key] = latest_.begin();
  if (latest_.size() > most_placed) {
    by_key_.erase(latest_.back().key);
    latest_.pop_back();
  }
  return latest_.front();
}

PlanVariants::Placed* PlanVariants::place_of(const Change& change, Change& free) {
  // Placing a plan may show more settings that must have an object of their own.
  while (true) {
    const std::size_t known = not_in_place_.size();
    Change fixed;
    free.clear();
    std::string key;
    for (const auto& [name, value] : change) {
      const bool in = !not_in_place_.contains(name) && is_plain(value) &&
                      KeyTable::instance().find(name) != nullptr;
      (in ? free : fixed).emplace_back(name, value);
      if (!in) key += name + '\x1f' + value + '\x1e';
    }
    Placed* place = nullptr;
    try {
      place = &placed(fixed, key);
    } catch (const Error&) {
      if (not_in_place_.size() == known) return nullptr;
    }
    if (not_in_place_.size() == known) return place;
  }
}

PlanVariant PlanVariants::anew(const Change& change) {
  anew_ = make_plan(changed(base_, change));
  return {&anew_, hash_of(anew_.config)};
}

PlanVariant PlanVariants::make(const Change& change) {
  Change free;
  Placed* place = place_of(change, free);
  if (place == nullptr) return anew(change);
  Plan& plan = place->plan;
  for (Setting& old : place->replaced) setting_at(plan.config, old.key) = std::move(old);
  place->replaced.clear();
  PlanVariant variant{&plan, place->hash};
  Diagnostics faults;
  for (const auto& [name, value] : free) {
    Setting& setting = setting_at(plan.config, name);
    variant.hash -= term(setting);
    place->replaced.push_back(setting);
    setting.value = Node{};
    setting.value.kind = Node::Kind::scalar;
    setting.value.where = {"<command line>"};
    setting.value.text = value;
    setting.origin = Origin::command_line;
    check_setting(name, setting.value, setting.value.where, faults);
    variant.hash += term(setting);
  }
  if (!faults.empty()) return anew(change);
  plan.assumptions.resize(place->place_assumptions);
  plan.allowed.clear();
  plan.lifted.clear();
  finish_plan(plan);
  return variant;
}

}  // namespace meshsim
