#include "sim/step_sources.hpp"

#include <algorithm>
#include <utility>

namespace meshsim {
namespace {

// Templates that are kept whole, for programs that are laid out: those of a plan or two. Templates
// whose work is kept, for blocks that are met for the first time.
constexpr std::size_t most_whole = 16, most_with_work = 256;

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
  std::shared_ptr<const LayerTemplate> whole;
  Template& one = remembered(templates_, key_, settings, values_, [&] {
    made = true;
    whole = make_template(plan, slot);
    return Template{source(template_form(*whole), template_numbers(*whole)), {}, {}};
  });
  if (made) keep(one, std::move(whole));
  return one;
}

// All of a template, as long as it is among the latest.
void StepSources::keep(Template& one, std::shared_ptr<const LayerTemplate> whole) {
  if (!one.work) {
    one.work = std::make_shared<const TemplateWork>(work_of(*whole));
    with_work_.push_back(&one);
    if (with_work_.size() > most_with_work) {
      with_work_.front()->work.reset();
      with_work_.pop_front();
    }
  }
  one.whole = std::move(whole);
  whole_.push_back(&one);
  if (whole_.size() > most_whole) {
    whole_.front()->whole.reset();
    whole_.pop_front();
  }
}

StepWork StepSources::work(const Plan& plan, const std::vector<std::size_t>& slots) {
  StepWork all(templates_at_hand_.size());
  for (const std::size_t slot : slots) {
    if (slot >= templates_at_hand_.size()) continue;  // the state
    Template& one = *templates_at_hand_[slot];
    if (!one.work) keep(one, make_template(plan, slot));
    all[slot] = one.work;
  }
  return all;
}

StepTemplates StepSources::whole(const Plan& plan) {
  StepTemplates all;
  for (std::size_t slot = 0; slot < templates_at_hand_.size(); ++slot) {
    Template& one = *templates_at_hand_[slot];
    if (!one.whole) keep(one, make_template(plan, slot));
    all.slots.push_back(one.whole);
  }
  return all;
}

void StepSources::forget_shapes() {
  whole_.clear();
  with_work_.clear();
  templates_.clear();
  known_numbers_.clear();
}

}  // namespace meshsim
