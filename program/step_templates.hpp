// The layer templates of a step, and its numbers in one row.
//
// A template has numbers (bytes of symbols, of weights, of gradients) and a form (everything else:
// names, who reads what, which mesh axes a weight travels over). How a step is laid out depends on
// forms alone. The numbers of a step stand in one row, template by template, then the state's:
//
//   embedding, head, mtp, the model's kinds | state, state on the host, ...
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plans/state.hpp"
#include "program/amount.hpp"
#include "program/layer_template.hpp"

namespace meshsim {

// Which of the templates of a step.
struct TemplateSlot {
  static constexpr int embedding = 0, head = 1, mtp = 2, first_kind = 3;
};

struct StepTemplates {
  // By slot; with a pipeline the kinds' again, for layers outside of it. The mtp template has no
  // stages where the model has no such blocks; a kind that no layer is of has none either.
  std::vector<std::shared_ptr<const LayerTemplate>> slots;

  const LayerTemplate& embedding() const { return *slots[TemplateSlot::embedding]; }
  const LayerTemplate& head() const { return *slots[TemplateSlot::head]; }
  const LayerTemplate& mtp() const { return *slots[TemplateSlot::mtp]; }
  const LayerTemplate& kind(int k) const {
    return *slots[std::size_t{TemplateSlot::first_kind} + static_cast<std::size_t>(k)];
  }
  const LayerTemplate& outside(int k) const {
    const std::size_t kinds = (slots.size() - TemplateSlot::first_kind) / 2;
    return *slots[std::size_t{TemplateSlot::first_kind} + kinds + static_cast<std::size_t>(k)];
  }
};

// The template of one slot, or an empty one; outside the layers for `batch`.
LayerTemplate slot_template(const Plan& plan, int slot, const LocalBatch& batch);
std::size_t slot_count(const Plan& plan);

StepTemplates step_templates(const Plan& plan);

// ---- numbers

// Of one weight, in this order.
enum class WeightNumber {
  gathered,
  local_gradient,
  gradient_shard,
  scattered_gradient,  // of the gradient, what is left of it after its reduce-scatter
  gather_group,
  reduce_group,
  count
};

// Symbols by name, then weights, then the sum of the trainable weights' gradient shards.
std::vector<std::int64_t> template_numbers(const LayerTemplate& layer);

// What the optimizer's operations ask of the state, in this order.
enum class StateNumber {
  state,         // on the device
  host_state,    // of it on the host
  host_largest,  // the largest array of it
  count
};
std::vector<std::int64_t> state_numbers(const TrainingState& state);

// Where the numbers of a template stand in the row.
class TemplateNumbers {
 public:
  TemplateNumbers(const LayerTemplate& layer, int slot, NumberId first);

  const LayerTemplate& layer() const { return *layer_; }
  int slot() const { return slot_; }
  NumberId end() const { return gradients_ + 1; }

  Amount symbol(Name name) const;  // d_x is as large as x
  Amount weight(std::size_t id, WeightNumber which) const;
  NumberId weight_number(std::size_t id, WeightNumber which) const;
  Amount gradients() const;

 private:
  const LayerTemplate* layer_;
  int slot_;
  NumberId first_, first_weight_, gradients_;
  std::vector<std::string_view> symbols_;
};

// The form of a template, in words: two templates of one form are laid out alike.
std::vector<std::int64_t> template_form(const LayerTemplate& layer);

}  // namespace meshsim
