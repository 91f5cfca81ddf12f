#include "sim/step_sources.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace meshsim {
namespace {

// Templates that are kept whole, for blocks that are met for the first time.
constexpr std::size_t most_templates = 256;

std::shared_ptr<const LayerTemplate> make_template(const Plan& plan, std::size_t slot) {
  return std::make_shared<const LayerTemplate>(
      slot_template(plan, static_cast<int>(slot), local_batch(plan)));
}

}  // namespace

// A form is what others share, and which of the numbers are 0: the peaks of a layout
// (program/memory_plan.hpp) depend on these.
StepSource StepSources::source(const std::vector<std::int64_t>& form,
                               std::vector<std::int64_t> numbers) {
  Key key;
  key.list(form);
  for (const std::int64_t number : numbers) key.add(number == 0 ? 0 : 1);
  const std::int64_t* known = forms_.find(key);
  if (known == nullptr) known = &forms_.insert(key, next_id_++);
  return {next_id_++, *known, shared(std::move(numbers))};
}

std::shared_ptr<const SourceNumbers> StepSources::shared(std::vector<std::int64_t> numbers) {
  Key key;
  key.list(numbers);
  if (const auto* known = known_numbers_.find(key)) return *known;
  SourceNumbers made{next_id_++, std::move(numbers)};
  return known_numbers_.insert(key, std::make_shared<const SourceNumbers>(std::move(made)));
}

void StepSources::look_at(const Plan& plan, std::int64_t shape, const StepSource& state) {
  templates_at_hand_.clear();
  at_hand_.clear();
  numbers_.clear();
  row_found_ = false;
  for (std::size_t slot = 0; slot < slot_count(plan); ++slot) {
    templates_at_hand_.push_back(&template_of(plan, shape, slot));
    at_hand_.push_back(&templates_at_hand_.back()->source);
  }
  at_hand_.push_back(&state);
}

void StepSources::add_forms(Key& key) const {
  for (const StepSource* source : at_hand_) key.add(source->form);
}

void StepSources::add_number_ids(Key& key) const {
  for (const StepSource* source : at_hand_) key.add(source->numbers->id);
}

std::span<const std::span<const std::int64_t>> StepSources::numbers() {
  if (numbers_.empty()) {
    for (const StepSource* source : at_hand_) numbers_.emplace_back(source->numbers->values);
  }
  return numbers_;
}

std::span<const std::int64_t> StepSources::row() {
  find_row();
  return row_;
}

const NumberRow& StepSources::places() {
  find_row();
  return places_;
}

void StepSources::find_row() {
  if (row_found_) return;
  row_found_ = true;
  row_.clear();
  places_.first.clear();
  for (const StepSource* source : at_hand_) {
    places_.first.push_back(static_cast<NumberId>(row_.size()));
    const std::vector<std::int64_t>& numbers = source->numbers->values;
    row_.insert(row_.end(), numbers.begin(), numbers.end());
  }
}

StepSources::Template& StepSources::template_of(const Plan& plan, std::int64_t shape,
                                                std::size_t slot) {
  key_.clear().add(static_cast<std::int64_t>(slot)).add(shape);
  SettingsRead& settings = settings_[std::min<std::size_t>(slot, TemplateSlot::first_kind)];
  bool made = false;
  Template& one = remembered(templates_, key_, settings, values_, [&] {
    made = true;
    auto whole = make_template(plan, slot);
    StepSource numbers = source(template_form(*whole), template_numbers(*whole));
    return Template{std::move(numbers), std::move(whole)};
  });
  if (made) keep_whole(one);
  return one;
}

void StepSources::keep_whole(Template& kept) {
  whole_.push_back(&kept);
  if (whole_.size() <= most_templates) return;
  whole_.front()->whole.reset();
  whole_.pop_front();
}

StepTemplates StepSources::whole(const Plan& plan, const std::vector<std::size_t>& slots) {
  StepTemplates all;
  all.slots.resize(templates_at_hand_.size());
  for (const std::size_t slot : slots) {
    if (slot >= templates_at_hand_.size()) continue;  // the state
    Template& kept = *templates_at_hand_[slot];
    if (!kept.whole) {
      kept.whole = make_template(plan, slot);
      keep_whole(kept);
    }
    all.slots[slot] = kept.whole;
  }
  return all;
}

StepTemplates StepSources::whole(const Plan& plan) {
  std::vector<std::size_t> slots(templates_at_hand_.size());
  std::iota(slots.begin(), slots.end(), std::size_t{0});
  return whole(plan, slots);
}

void StepSources::forget_shapes() {
  whole_.clear();
  templates_.clear();
  known_numbers_.clear();
}

}  // namespace meshsim
