#include "studies/sweep/plan_variants.hpp"

#include <algorithm>

#include "model_specs/model_config.hpp"
#include "plans/plan_steps.hpp"

namespace meshsim {
namespace {

constexpr std::size_t most_placed = 128;
constexpr std::size_t most_words = 100'000;

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
    try {
      place_plan(plan);
    } catch (const Error&) {
      if (refused_.size() >= most_words) refused_.clear();
      refused_[key] = std::current_exception();
      throw;
    }
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

PlanVariants::Word PlanVariants::made_word(const std::string& name,
                                           const std::string& value) const {
  Word word;
  word.name = name;
  word.value = value;
  const KeyTable& table = KeyTable::instance();
  const KeyInfo* info = table.find(name);
  word.in_place = info != nullptr && !not_in_place_.contains(name) && is_plain(value);
  if (!word.in_place) return word;
  word.index = static_cast<std::size_t>(info - table.keys().data());  // as of the settings
  Node node;
  node.kind = Node::Kind::scalar;
  node.where = {"<command line>"};
  node.text = value;
  word.setting = {name, node, Origin::command_line};
  word.hash = term(word.setting);
  Diagnostics faults;
  check_setting(name, node, node.where, faults);
  word.valid = faults.empty();
  return word;
}

const PlanVariants::Word& PlanVariants::word_of(const std::string& name, const std::string& value) {
  key_.assign(name).append(1, '\x1f').append(value);
  const auto known = known_words_.find(key_);
  if (known != known_words_.end()) return known->second;
  return known_words_.emplace(key_, made_word(name, value)).first->second;
}

void PlanVariants::forget_words() {
  known_words_.clear();
  words_.clear();
  last_.reset();
  for (Placed& place : latest_) {
    for (Replaced& one : place.replaced) one.word = nullptr;
  }
}

void PlanVariants::find_words(const Change& change) {
  if (known_words_.size() > most_words) forget_words();
  words_.resize(change.size());
  for (std::size_t i = 0; i < change.size(); ++i) {
    const auto& [name, value] = change[i];
    // Mostly that of the plan before.
    if (words_[i] == nullptr || words_[i]->value != value || words_[i]->name != name)
      words_[i] = &word_of(name, value);
  }
}

PlanVariants::Placed* PlanVariants::place_of(const Change& change) {
  // Placing a plan may show more settings that must have an object of their own.
  while (true) {
    const std::size_t known = not_in_place_.size();
    find_words(change);
    fixed_.clear();
    for (const Word* word : words_) {
      if (!word->in_place) fixed_.push_back(word);
    }
    if (last_ && last_->fixed == fixed_) return last_->place;  // mostly: fault_ is still its own
    std::string key;
    for (const Word* word : fixed_)
      key.append(word->name).append(1, '\x1f').append(word->value) += '\x1e';
    if (const auto known_fault = refused_.find(key); known_fault != refused_.end()) {
      fault_ = known_fault->second;
      last_ = {fixed_, nullptr};
      return nullptr;
    }
    Change fixed;
    for (const Word* word : fixed_) fixed.emplace_back(word->name, word->value);
    last_.reset();  // its place may have to go
    Placed* place = nullptr;
    try {
      place = &placed(fixed, key);
    } catch (const Error&) {
      if (not_in_place_.size() == known) {
        const auto refused = refused_.find(key);
        fault_ = refused != refused_.end() ? refused->second : nullptr;
        return nullptr;
      }
    }
    if (not_in_place_.size() == known) {
      last_ = {fixed_, place};
      return place;
    }
    forget_words();
  }
}

PlanVariant PlanVariants::anew(const Change& change) {
  anew_ = make_plan(changed(base_, change));
  return {&anew_, hash_of(anew_.config)};
}

void PlanVariants::set(Placed& place, const Word& word) {
  Setting& setting = place.plan.config.settings[word.index];
  auto old = std::find_if(place.replaced.begin(), place.replaced.end(),
                          [&](const Replaced& one) { return one.index == word.index; });
  if (old == place.replaced.end()) {
    const ConfigHash hash = term(setting);
    old = place.replaced.insert(old, {word.index, setting, hash, hash, nullptr, true});
  }
  old->wanted = true;
  if (old->word == &word) return;
  setting = word.setting;
  place.hash -= old->hash;
  place.hash += word.hash;
  old->hash = word.hash;
  old->word = &word;
}

void PlanVariants::put_back_the_unwanted(Placed& place) {
  std::erase_if(place.replaced, [&](Replaced& one) {
    if (one.wanted) return false;
    place.hash -= one.hash;
    place.hash += one.original_hash;
    place.plan.config.settings[one.index] = std::move(one.original);
    return true;
  });
}

PlanVariant PlanVariants::make(const Change& change) {
  Placed* place = place_of(change);
  const auto is_valid = [](const Word* word) { return !word->in_place || word->valid; };
  if (!std::all_of(words_.begin(), words_.end(), is_valid)) return anew(change);
  // What is set in place was not read when a place was refused: all such variants are.
  if (place == nullptr && fault_) std::rethrow_exception(fault_);
  if (place == nullptr) return anew(change);
  Plan& plan = place->plan;
  for (Replaced& one : place->replaced) one.wanted = false;
  for (const Word* word : words_) {
    if (word->in_place) set(*place, *word);
  }
  put_back_the_unwanted(*place);
  plan.assumptions.resize(place->place_assumptions);
  plan.allowed.clear();
  plan.lifted.clear();
  finish_plan(plan);
  return {&plan, place->hash};
}

}  // namespace meshsim
