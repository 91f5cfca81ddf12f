// Where the sizes of a step come from, for many plans: the templates of its layers, by slot
// (program/step_templates.hpp), and its state, as one more slot after them.
//
// A source is its numbers, and a form that says what they mean: sources of one form differ in
// numbers alone. Templates are known by the plan's shape and the settings that they were seen to
// read. Of the latest their work is kept, of the very latest all.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "program/renumber.hpp"
#include "sim/key.hpp"
#include "sim/settings_read.hpp"
#include "sim/step_layout.hpp"

namespace meshsim {

// Equal numbers have one id: the memory of a step depends on nothing else of its sources.
struct SourceNumbers {
  std::int64_t id = 0;
  std::vector<std::int64_t> values;
};

struct StepSource {
  std::int64_t id = 0;
  std::int64_t form = 0;
  std::shared_ptr<const SourceNumbers> numbers;
};

class StepSources {
 public:
  // `values`: of the plan at hand.
  explicit StepSources(SettingValues& values) : values_(values) {}

  StepSource source(const std::vector<std::int64_t>& form, std::vector<std::int64_t> numbers);

  // Makes the sources of `plan` those at hand: its templates and `state`, which must live as long
  // as they are asked for. `shape`: PlanIdentity::shape.
  void look_at(const Plan& plan, std::int64_t shape, const StepSource& state);

  const StepSource& at(std::size_t slot) const { return *at_hand_[slot]; }
  std::size_t state_slot() const { return at_hand_.size() - 1; }
  void add_forms(Key& key) const;
  void add_number_ids(Key& key) const;
  // Their numbers, by slot and one after the other.
  std::span<const std::span<const std::int64_t>> numbers();
  std::span<const std::int64_t> row();
  const NumberRow& places();

  // Of the templates at hand: their work, for those of `slots`; all of them.
  StepWork work(const Plan& plan, const std::vector<std::size_t>& slots);
  StepTemplates whole(const Plan& plan);

  std::size_t shapes() const { return templates_.size(); }
  std::size_t forms() const { return forms_.size(); }
  void forget_shapes();

 private:
  struct Template {
    StepSource source;
    std::shared_ptr<const LayerTemplate> whole;
    std::shared_ptr<const TemplateWork> work;
  };
  std::shared_ptr<const SourceNumbers> shared(std::vector<std::int64_t> numbers);
  Template& template_of(const Plan& plan, std::int64_t shape, std::size_t slot);
  void keep(Template& one, std::shared_ptr<const LayerTemplate> whole);
  void find_row();

  SettingValues& values_;
  std::vector<SettingsRead> settings_{TemplateSlot::first_kind + 1};
  Memo<Template> templates_;
  std::deque<Template*> whole_, with_work_;
  Memo<std::int64_t> forms_;
  Memo<std::shared_ptr<const SourceNumbers>> known_numbers_;
  std::int64_t next_id_ = 0;
  // Of the plan at hand, and scratch space.
  std::vector<Template*> templates_at_hand_;
  std::vector<const StepSource*> at_hand_;
  std::vector<std::span<const std::int64_t>> numbers_;
  std::vector<std::int64_t> row_;
  NumberRow places_;
  bool row_found_ = false;
  Key key_;
};

}  // namespace meshsim
