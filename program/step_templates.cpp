#include "program/step_templates.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "plans/pipeline.hpp"
#include "program/emitter.hpp"
#include "program/moe_block.hpp"
#include "program/outer_templates.hpp"

namespace meshsim {
namespace {

constexpr auto per_weight = static_cast<NumberId>(WeightNumber::count);

std::int64_t number_of(const Weight& weight, WeightNumber which) {
  switch (which) {
    case WeightNumber::gathered: return weight.gathered.value();
    case WeightNumber::local_gradient: return weight.local_gradient.value();
    case WeightNumber::gradient_shard: return weight.gradient_shard.value();
    case WeightNumber::scattered_gradient:
      return weight.local_gradient.value() / weight.gather_group;
    case WeightNumber::gather_group: return weight.gather_group;
    case WeightNumber::reduce_group: return weight.reduce_group;
    case WeightNumber::count: break;
  }
  throw std::logic_error("no such number of a weight");
}

// Lists say how long they are, so that no two forms give the same words.
class Form {
 public:
  Form& add(std::int64_t number) {
    words_.push_back(number);
    return *this;
  }
  Form& add(Name name) { return add(name.place()); }
  template <class T>
  Form& list(const std::vector<T>& items) {
    add(static_cast<std::int64_t>(items.size()));
    for (const T& item : items) {
      if constexpr (std::is_integral_v<T>) {
        add(static_cast<std::int64_t>(item));
      } else {
        add(Name(item));
      }
    }
    return *this;
  }
  std::vector<std::int64_t> take() { return std::move(words_); }

 private:
  std::vector<std::int64_t> words_;
};

void add_op(const OpTemplate& op, Form& form) {
  form.add(op.name).add(static_cast<std::int64_t>(op.work.index()));
  if (const auto* work = std::get_if<Collective>(&op.work))
    form.add(static_cast<std::int64_t>(work->kind)).list(work->mesh_axes);
  form.list(op.reads).list(op.writes).list(op.spares).list(op.weights).list(op.gradients);
  form.add(static_cast<std::int64_t>(op.stream)).list(op.after);
}

// Whether a layer of `kind` is in the pipeline, or outside of it.
bool has_layer(const Plan& plan, int kind, bool pipelined) {
  const std::vector<int>& layers = plan.model.layers;
  if (plan.mesh.size("stage") == 1)
    return std::find(layers.begin(), layers.end(), kind) != layers.end();
  // The settings that decide the layout, for those who keep templates by the settings they read.
  if (!plan.config.boolean("scan_layers") || pipelined_layers(plan) < 1) return !pipelined;
  return std::any_of(
      plan.layout.segments.begin(), plan.layout.segments.end(), [&](const Segment& segment) {
        if (is_pipelined(plan, segment) != pipelined) return false;
        const auto first = plan.model.layers.begin() + static_cast<std::ptrdiff_t>(segment.first);
        return std::find(first, first + static_cast<std::ptrdiff_t>(segment.block), kind) !=
               first + static_cast<std::ptrdiff_t>(segment.block);
      });
}

}  // namespace

LayerTemplate slot_template(const Plan& plan, int slot, const LocalBatch& batch) {
  if (plan.moe_block)
    return slot == TemplateSlot::first_kind ? moe_block_template(plan, batch) : LayerTemplate();
  if (slot == TemplateSlot::embedding) return embedding_template(plan, batch);
  if (slot == TemplateSlot::head) {
    LocalBatch tile = batch;
    tile.length = batch.tokens() / plan.config.integer("num_vocab_tiling");
    tile.sequences = 1;
    return head_template(plan, tile);
  }
  if (slot == TemplateSlot::mtp)
    return plan.model.mtp_layers > 0 ? mtp_template(plan, batch) : LayerTemplate();
  const auto kinds = static_cast<int>(plan.model.kinds.size());
  const bool outside = slot - TemplateSlot::first_kind >= kinds;
  const int kind = (slot - TemplateSlot::first_kind) % kinds;
  const LayerKind& of = plan.model.kinds[static_cast<std::size_t>(kind)];
  const bool piped = plan.mesh.size("stage") > 1;
  if (!has_layer(plan, kind, !outside)) return {};
  if (!piped || outside) return layer_template(plan, of, batch);
  LayerTemplate layer = layer_template(plan, of, layer_batch(plan));
  // What was gathered ahead is there, and its gradients are kept whole (Lowering::gather_ahead).
  const std::int64_t ahead = weights_ahead(plan);
  // A stage sums the gradients of its layers over data parallel devices once, after all
  // microbatches (Lowering::sum_pipelined_gradients).
  for (Weight& weight : layer.weights) {
    weight.reduce_axes.clear();
    weight.reduce_group = 1;
    if (ahead == 0) continue;
    weight.gather_axes.clear();
    weight.gather_group = weight.second_stage = 1;
    weight.gradient_shard = weight.local_gradient;
    weight.on_host = false;
  }
  return layer;
}

std::size_t slot_count(const Plan& plan) {
  const std::size_t kinds = plan.model.kinds.size();
  return TemplateSlot::first_kind + (plan.mesh.size("stage") > 1 ? 2 * kinds : kinds);
}

StepTemplates step_templates(const Plan& plan) {
  const LocalBatch batch = local_batch(plan);
  StepTemplates all;
  for (std::size_t slot = 0; slot < slot_count(plan); ++slot) {
    all.slots.push_back(
        std::make_shared<const LayerTemplate>(slot_template(plan, static_cast<int>(slot), batch)));
  }
  return all;
}

std::vector<std::int64_t> template_numbers(const LayerTemplate& layer) {
  std::vector<std::int64_t> numbers;
  numbers.reserve(layer.symbols.size() + layer.weights.size() * per_weight + 1);
  for (const auto& [name, symbol] : layer.symbols) numbers.push_back(symbol.bytes.value());
  for (const Weight& weight : layer.weights) {
    for (NumberId i = 0; i < per_weight; ++i)
      numbers.push_back(number_of(weight, static_cast<WeightNumber>(i)));
  }
  numbers.push_back(gradient_bytes(layer).value());
  return numbers;
}

std::vector<std::int64_t> state_numbers(const TrainingState& state) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(StateNumber::count));
  const auto number = [&](StateNumber which) -> std::int64_t& {
    return numbers[static_cast<std::size_t>(which)];
  };
  number(StateNumber::state) = state.state().value();
  for (const StateBuffer& buffer : state.buffers) {
    if (!buffer.on_host) continue;
    number(StateNumber::host_state) += buffer.bytes.value();
    std::int64_t& largest = number(StateNumber::host_largest);
    largest = std::max(largest, buffer.bytes.value());
  }
  return numbers;
}

TemplateNumbers::TemplateNumbers(const LayerTemplate& layer, int slot, NumberId first)
    : layer_(&layer),
      slot_(slot),
      first_(first),
      first_weight_(first + static_cast<NumberId>(layer.symbols.size())),
      gradients_(first_weight_ + static_cast<NumberId>(layer.weights.size()) * per_weight) {
  for (const auto& [name, symbol] : layer.symbols) symbols_.emplace_back(name.text());
}

Amount TemplateNumbers::symbol(Name name) const {
  std::string_view known = name.text();
  while (true) {
    const auto at = std::lower_bound(symbols_.begin(), symbols_.end(), known);
    if (at != symbols_.end() && *at == known) {
      return {first_ + static_cast<NumberId>(at - symbols_.begin()), layer_->symbol(name).bytes};
    }
    if (!known.starts_with("d_")) return layer_->symbol(name).bytes;  // throws
    known.remove_prefix(2);
  }
}

NumberId TemplateNumbers::weight_number(std::size_t id, WeightNumber which) const {
  return first_weight_ + static_cast<NumberId>(id) * per_weight + static_cast<NumberId>(which);
}

Amount TemplateNumbers::weight(std::size_t id, WeightNumber which) const {
  return {weight_number(id, which), Bytes(number_of(layer_->weights[id], which))};
}

Amount TemplateNumbers::gradients() const { return {gradients_, gradient_bytes(*layer_)}; }

std::vector<std::int64_t> template_form(const LayerTemplate& layer) {
  Form form;
  form.add(layer.layer_kind).add(static_cast<std::int64_t>(layer.deferred));
  for (const Weight& weight : layer.weights) {
    form.add(weight.name)
        .add(weight.trainable ? 1 : 0)
        .add(weight.gradient ? 1 : 0)
        .add(weight.relaid ? 1 : 0)
        .add(weight.on_host ? 1 : 0)
        .add(weight.second_stage > 1 ? 1 : 0)
        .add(weight.expert_copies > 1 ? 1 : 0);
    form.list(weight.gather_axes).list(weight.reduce_axes).list(weight.pass_axes);
  }
  for (const Stage& stage : layer.stages) {
    form.add(stage.name);
    for (const auto* ops :
         {&stage.forward, &stage.forward_beside, &stage.backward, &stage.backward_beside}) {
      form.add(static_cast<std::int64_t>(ops->size()));
      for (const OpTemplate& op : *ops) add_op(op, form);
    }
  }
  for (const auto& [name, symbol] : layer.symbols) form.add(name).add(symbol.category);
  return form.take();
}

}  // namespace meshsim
