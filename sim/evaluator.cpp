#include "sim/evaluator.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <span>
#include <utility>

#include "program/memory_plan.hpp"
#include "sim/block_solver.hpp"
#include "sim/plan_identity.hpp"
#include "sim/step_layout.hpp"
#include "units/interned.hpp"

namespace meshsim {
namespace {

// Sweeps run in constant memory: beyond these numbers what was found is forgotten. Plans that share
// results stand close together, so that little of it is asked for again.
//
// Of templates: shapes that were met. What was found for them goes with them.
constexpr std::size_t most_shapes = 12'000;
// Of times, by groups of blocks and by blocks; and of runs of blocks for the event engine, which
// keeps the time of every operation.
constexpr std::size_t most_group_times = 100'000, most_block_times = 50'000,
                      most_block_runs = 4'000;
constexpr std::size_t most_peaks = 50'000;
// Of everything else, which costs most to find again.
constexpr std::size_t most_results = 100'000;
// Programs that are laid out: each weighs as much as so many other results.
constexpr std::size_t layout_weight = 100;
// Templates that are kept whole, for blocks that are met for the first time.
constexpr std::size_t most_templates = 256;

// Where sizes of a step come from: a template, or the state.
struct Numbers {
  std::int64_t id = 0;
  std::int64_t form = 0;
  std::vector<std::int64_t> values;
};

struct RestingState {
  Numbers numbers;
  std::vector<Bytes> categories;  // on the device, as state_categories()
  Bytes on_host;
};

struct Batch {
  Bytes on_device, on_host;
};

struct Template {
  Numbers numbers;
  std::shared_ptr<const LayerTemplate> whole;  // of the latest ones
};

struct BlockForm {
  std::int64_t id = 0;
  BlockInputs inputs;
  SolvableBlock block;
};

struct BlockUse {
  BlockForm* form = nullptr;
  std::int64_t times = 1;
  bool per_microbatch = false, per_tile = false;

  std::size_t count_class() const { return (per_microbatch ? 1U : 0U) + (per_tile ? 2U : 0U); }
};

// The blocks of a layout that take their sizes from the same of its parts: from the head, from the
// state, from both or from neither. Plans that differ in one of them share the time of the others.
struct BlockGroup {
  std::int64_t id = 0;
  BlockInputs inputs;
  std::vector<BlockUse> blocks;

  // `once`: blocks of one form are counted together.
  void add(const BlockUse& use, bool once) {
    for (BlockUse& known : blocks) {
      if (!once || known.form != use.form || known.count_class() != use.count_class()) continue;
      known.times += use.times;
      return;
    }
    blocks.push_back(use);
  }
};

// Their time, by whether they run per microbatch (1) and per tile of the loss (2).
using GroupTime = std::array<BlockTime, 4>;

struct Layout {
  std::int64_t id = 0;
  bool traced = false;  // else: only the long way
  bool priced = false;
  MemoryPlan memory;
  std::vector<AmountTerm> host;
  std::vector<BlockGroup> groups;
};

std::int64_t loss_tiles(const Plan& plan) { return plan.config.integer("num_vocab_tiling"); }

}  // namespace

class Evaluator::Memory {
 public:
  Memory(Fidelity fidelity, Pruning pruning) : fidelity_(fidelity), pruning_(pruning) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::size_t size() const {
    return values_.size() + identities_.size() + resting_.size() + batches_.size() +
           lowered_.size() + forms_.size() + layout_weight * layouts_.size() + block_forms_.size() +
           group_ids_.size();
  }

  Answer evaluate(const Plan& plan) {
    // Loads differ from layer to layer: little would be shared.
    const bool alone = !plan.routing.balanced();
    if (alone && pruning_ == Pruning::none) return answer_of(meshsim::evaluate(plan, fidelity_));
    forget_much();
    values_.look_at(plan.config);
    const PlanIdentity identity = identities_.of(plan);
    RestingState& state = resting(plan, identity);
    const Batch batch = batch_of(plan, identity);
    Answer answer;
    answer.hbm_usable = identity.place->hbm_usable;
    add_state(state, batch, answer);
    answer.verdict =
        answer.arguments > answer.hbm_usable ? Verdict::does_not_fit : Verdict::inconclusive;
    if (answer.verdict == Verdict::does_not_fit && pruning_ == Pruning::by_arguments) return answer;
    if (alone) return answer_of(meshsim::evaluate(plan, fidelity_));
    if (!is_lowered(plan, identity)) return answer;

    find_sources(plan, identity, state);
    const Bytes available =
        answer.arguments < answer.hbm_usable ? answer.hbm_usable - answer.arguments : Bytes();
    answer.prefetch = furthest_prefetch(plan);
    Layout* layout = nullptr;
    for (;;) {
      layout = &layout_of(plan, identity, answer.prefetch);
      if (!layout->traced) break;
      find_peak(*layout);
      const std::optional<Prefetch> less = less_prefetch(plan, answer.prefetch);
      if (peak_->temp <= available || !less) break;
      answer.prefetch = *less;
    }
    if (!layout->traced) return answer_of(meshsim::evaluate(plan, fidelity_));
    if (!layout->priced) {
      answer.prefetch = Prefetch::layer;
      return answer;
    }
    answer.timed = true;
    answer.temp = peak_->temp;
    if (!layout->host.empty()) {
      find_row();
      answer.on_host += amount_of(layout->host, row_);
    }
    answer.verdict = answer.peak() > answer.hbm_usable ? Verdict::does_not_fit : Verdict::fits;
    for (const auto& [category, bytes] : peak_->categories)
      answer.memory.emplace_back(temp_name(category), bytes);
    add_time(plan, *identity.context, *layout, answer);
    return answer;
  }

 private:
  void forget_much() {
    if (templates_.size() > most_shapes) {
      whole_.clear();
      templates_.clear();
      group_times_.clear();
      times_.clear();
      peaks_.clear();
    }
    if (peaks_.size() > most_peaks) peaks_.clear();
    if (group_times_.size() > most_group_times) group_times_.clear();
    if (times_.size() > most_block_times) times_.clear();
    if (runs_.size() > most_block_runs) runs_.clear();
  }

  // The result of `make` under the inputs in key_ and the settings that such results were seen to
  // depend on.
  template <class Value, class Make>
  Value& remembered(Memo<Value>& memo, SettingsRead& settings, const Make& make) {
    const std::size_t inputs = key_.words().size();
    settings.add_to(key_, values_);
    if (Value* known = memo.find(key_)) return *known;
    Key key = key_;
    Value made = settings.watch(values_, make);
    settings.add_to(key.cut(inputs), values_);
    return memo.insert(key, std::move(made));
  }

  // ---- state

  RestingState& resting(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.place->id);
    key_.add(identity.layout).add(plan.scan_axis).add(static_cast<std::int64_t>(plan.expert_axes));
    key_.add(static_cast<std::int64_t>(t.weights)).add(static_cast<std::int64_t>(t.first_moment));
    key_.add(static_cast<std::int64_t>(t.optimizer)).add(t.optimizer_on_host ? 1 : 0);
    key_.add(t.parameters_on_host ? 1 : 0).add(t.optimizer_over_data ? 1 : 0);
    return remembered(resting_, resting_settings_, [&] {
      const TrainingState made = resting_state(plan);
      RestingState state;
      for (const std::string& category : state_categories())
        state.categories.push_back(made.on_device(category));
      state.on_host = made.on_host();
      state.numbers = numbers_of("", state_numbers(made));
      return state;
    });
  }

  Batch batch_of(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.place->id).add(t.global_batch).add(t.sequence_length);
    return remembered(batches_, batch_settings_, [&] {
      TrainingState made;
      append_batch(plan, made);
      return Batch{made.batch(), made.on_host()};
    });
  }

  void add_state(const RestingState& state, const Batch& batch, Answer& answer) {
    constexpr std::size_t most_categories = 32;
    answer.memory.reserve(most_categories);
    for (std::size_t i = 0; i < state.categories.size(); ++i) {
      const std::string_view name = category_names()[i];
      const Bytes bytes = name == "batch" ? batch.on_device : state.categories[i];
      answer.memory.emplace_back(name, bytes);
      answer.arguments += bytes;
    }
    answer.on_host = state.on_host + batch.on_host;
  }

  static const std::vector<std::string_view>& category_names() {
    static const std::vector<std::string_view> names = [] {
      std::vector<std::string_view> all;
      for (const std::string& category : state_categories()) all.push_back(interned(category));
      return all;
    }();
    return names;
  }

  // "temp:" + category
  std::string_view temp_name(std::string_view category) {
    for (const auto& [known, name] : temp_names_) {
      if (known == category) return name;
    }
    return temp_names_.emplace_back(category, interned("temp:" + std::string(category))).second;
  }

  // ---- layout

  bool is_lowered(const Plan& plan, const PlanIdentity& identity) {
    key_.clear().add(identity.shape).add(identity.layout);
    return remembered(lowered_, lowered_settings_, [&] { return !not_lowered(plan).has_value(); });
  }

  // A form is what others share, and which of the numbers are 0: the peaks of a layout
  // (program/memory_plan.hpp) depend on these.
  Numbers numbers_of(std::string_view form, std::vector<std::int64_t> values) {
    Key key;
    key.add(form);
    for (const std::int64_t value : values) key.add(value == 0 ? "0" : "1");
    const std::int64_t* known = forms_.find(key);
    if (known == nullptr) known = &forms_.insert(key, next_id_++);
    return {next_id_++, *known, std::move(values)};
  }

  // Into sources_: the templates of the plan, by slot, and its state.
  void find_sources(const Plan& plan, const PlanIdentity& identity, RestingState& state) {
    templates_at_hand_.clear();
    sources_.clear();
    for (std::size_t slot = 0; slot < slot_count(plan); ++slot) {
      templates_at_hand_.push_back(&template_of(plan, identity, slot));
      sources_.push_back(&templates_at_hand_.back()->numbers);
    }
    sources_.push_back(&state.numbers);
  }

  // The numbers of the plan at hand one after the other.
  void find_row() {
    row_.clear();
    places_.first.clear();
    for (const Numbers* source : sources_) {
      places_.first.push_back(static_cast<NumberId>(row_.size()));
      row_.insert(row_.end(), source->values.begin(), source->values.end());
    }
  }

  SettingsRead& template_settings(std::size_t slot) {
    return template_settings_[std::min<std::size_t>(slot, TemplateSlot::first_kind)];
  }

  Template& template_of(const Plan& plan, const PlanIdentity& identity, std::size_t slot) {
    key_.clear().add(static_cast<std::int64_t>(slot)).add(identity.shape);
    bool made = false;
    Template& one = remembered(templates_, template_settings(slot), [&] {
      made = true;
      auto whole = make_template(plan, slot);
      Numbers numbers = numbers_of(template_form(*whole), template_numbers(*whole));
      return Template{std::move(numbers), std::move(whole)};
    });
    if (made) keep_whole(one);
    return one;
  }

  static std::shared_ptr<const LayerTemplate> make_template(const Plan& plan, std::size_t slot) {
    return std::make_shared<const LayerTemplate>(
        slot_template(plan, static_cast<int>(slot), local_batch(plan)));
  }

  void keep_whole(Template& kept) {
    whole_.push_back(&kept);
    if (whole_.size() <= most_templates) return;
    whole_.front()->whole.reset();
    whole_.pop_front();
  }

  StepTemplates whole_templates(const Plan& plan, const std::vector<std::size_t>& slots) {
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

  std::vector<std::size_t> all_slots() const {
    std::vector<std::size_t> slots(sources_.size());
    for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = i;
    return slots;
  }

  void add_forms() {
    for (const Numbers* source : sources_) key_.add(source->form);
  }

  Layout& layout_of(const Plan& plan, const PlanIdentity& identity, Prefetch prefetch) {
    key_.clear().add(static_cast<std::int64_t>(prefetch));
    add_forms();
    key_.add(identity.place->form).add(identity.layout);
    key_.add(static_cast<std::int64_t>(plan.expert_axes));
    key_.add(plan.training.gradient_accumulation > 1 ? 1 : 0).add(loss_tiles(plan) > 1 ? 1 : 0);
    return remembered(layouts_, layout_settings_, [&] {
      const StepTemplates whole = whole_templates(plan, all_slots());
      StepProgram program = lower(plan, prefetch, whole, sources_.back()->values);
      Layout layout;
      layout.id = next_id_++;
      layout.traced = is_traced(program);
      if (!layout.traced) return layout;
      find_row();
      layout.priced = !not_priced(plan.topology, program).has_value();
      layout.memory = MemoryPlan(program, row_, places_.first);
      layout.host = program.host.terms();
      layout.groups = groups_of(program);
      return layout;
    });
  }

  std::vector<BlockGroup> groups_of(const StepProgram& program) {
    std::vector<BlockGroup> groups(4);
    const std::size_t state = sources_.size() - 1;
    for (const Block& block : blocks_of(program.root)) {
      const BlockInputs inputs = inputs_of(block, places_);
      BlockGroup& group =
          groups[(inputs.reads(TemplateSlot::head) ? 1U : 0U) + (inputs.reads(state) ? 2U : 0U)];
      group.inputs = united(group.inputs, inputs);
      // The event engine splits the times of every block of its own into causes.
      group.add({&block_form(block, inputs), block.times, block.per_microbatch, block.per_tile},
                fidelity_ == Fidelity::closed_form);
    }
    std::erase_if(groups, [](const BlockGroup& group) { return group.blocks.empty(); });
    for (BlockGroup& group : groups) {
      Key key;
      for (const BlockUse& use : group.blocks)
        key.add(use.form->id).add(use.times).add(static_cast<std::int64_t>(use.count_class()));
      const std::int64_t* known = group_ids_.find(key);
      group.id = known != nullptr ? *known : group_ids_.insert(key, next_id_++);
    }
    return groups;
  }

  void find_peak(Layout& layout) {
    key_.clear().add(layout.id);
    for (const Numbers* source : sources_) key_.add(source->id);
    peak_ = peaks_.find(key_);
    if (peak_ != nullptr) return;
    numbers_at_hand_.clear();
    for (const Numbers* source : sources_) numbers_at_hand_.emplace_back(source->values);
    MemoryPlan::Peak peak;
    layout.memory.peak(numbers_at_hand_, peak);
    peak_ = &peaks_.insert(key_, std::move(peak));
  }

  BlockForm& block_form(const Block& block, const BlockInputs& inputs) {
    Key key;
    for (const Numbers* source : sources_) key.add(source->form);
    add_block(key, block);
    if (BlockForm* known = block_forms_.find(key)) return *known;
    std::vector<ProgramNode> nodes;
    for (const ProgramNode* node : block.nodes) nodes.push_back(*node);
    BlockForm form{next_id_++, inputs, SolvableBlock(std::move(nodes), causes_)};
    return block_forms_.insert(key, std::move(form));
  }

  // ---- time

  void add_time(const Plan& plan, Context& context, Layout& layout, Answer& answer) {
    const Machine& machine = identities_.machine(plan, context);
    FlopCount model_flops;
    sums_.assign(causes_.size(), Picoseconds());
    for (const BlockGroup& group : layout.groups) {
      if (fidelity_ == Fidelity::event) {
        add_runs(plan, context, group, machine, model_flops, answer);
        continue;
      }
      const GroupTime& time = time_of(plan, context, group, machine);
      for (std::size_t i = 0; i < time.size(); ++i) {
        const BlockTime& blocks = time[i];
        const std::int64_t count = count_of(plan, i);
        answer.step_time += blocks.total * count;
        model_flops += blocks.model_flops * count;
        for (const auto& [cause, part] : blocks.causes) sums_[cause] += part * count;
      }
    }
    answer.time.reserve(causes_.size());
    for (const std::size_t i : causes_.sorted()) {
      if (sums_[i] > Picoseconds()) answer.time.emplace_back(causes_.name(i), sums_[i]);
    }
    const double time = seconds(answer.step_time);
    answer.mfu = static_cast<double>(model_flops.value()) / (machine.matmul_peak.value() * time);
    answer.tokens_per_s_per_device = static_cast<double>(step_tokens(plan)) / time;
  }

  // How often blocks of a class run (BlockUse::count_class).
  static std::int64_t count_of(const Plan& plan, std::size_t count_class) {
    return ((count_class & 1U) != 0 ? plan.training.gradient_accumulation : 1) *
           ((count_class & 2U) != 0 ? loss_tiles(plan) : 1);
  }

  void add_inputs(const BlockInputs& inputs) {
    for (const std::size_t slot : inputs.slots) key_.add(sources_[slot]->id);
    for (const BlockInputs::Number& number : inputs.numbers)
      key_.add(sources_[number.slot]->values[number.place]);
  }

  const GroupTime& time_of(const Plan& plan, const Context& context, const BlockGroup& group,
                           const Machine& machine) {
    key_.clear().add(group.id).add(context.id);
    add_inputs(group.inputs);
    if (const GroupTime* known = group_times_.find(key_)) return *known;
    const Key key = key_;
    find_row();
    GroupTime sum;
    std::optional<Operations> operations;
    for (const BlockUse& use : group.blocks)
      sum[use.count_class()].add(time_of(plan, context, group, *use.form, machine, operations),
                                 use.times);
    return group_times_.insert(key, std::move(sum));
  }

  // Result `memo` of a block of `group` under its inputs, made by `make(operations)`. `operations`:
  // those of the group's slots, once they are needed.
  template <class Value, class Make>
  const Value& of_block(Memo<Value>& memo, const Plan& plan, const Context& context,
                        const BlockGroup& group, const BlockForm& form,
                        std::optional<Operations>& operations, const Make& make) {
    key_.clear().add(form.id).add(context.id);
    add_inputs(form.inputs);
    if (const Value* known = memo.find(key_)) return *known;
    if (!operations) operations.emplace(whole_templates(plan, group.inputs.slots));
    return memo.insert(key_, make(*operations));
  }

  const BlockTime& time_of(const Plan& plan, const Context& context, const BlockGroup& group,
                           BlockForm& form, const Machine& machine,
                           std::optional<Operations>& operations) {
    return of_block(times_, plan, context, group, form, operations, [&](const Operations& at_hand) {
      return form.block.solve(at_hand, row_, machine, engine_);
    });
  }

  // The times of a group by the event engine.
  void add_runs(const Plan& plan, const Context& context, const BlockGroup& group,
                const Machine& machine, FlopCount& model_flops, Answer& answer) {
    find_row();
    std::optional<Operations> operations;
    for (const BlockUse& use : group.blocks) {
      const BlockRun& run = of_block(
          runs_, plan, context, group, *use.form, operations,
          [&](const Operations& at) { return use.form->block.run(at, row_, machine, engine_); });
      const std::int64_t count = use.times * count_of(plan, use.count_class());
      answer.step_time += run.total * count;
      model_flops += run.model_flops * count;
      run.split(count, [&](std::size_t cause, Picoseconds part) { sums_[cause] += part; });
    }
  }

  Fidelity fidelity_;
  Pruning pruning_;
  SettingValues values_;
  PlanIdentities identities_{values_};
  SettingsRead resting_settings_, batch_settings_, lowered_settings_;
  SettingsRead layout_settings_{"num_vocab_tiling"};  // a count beyond 1: RepeatOf::loss_tiles
  std::vector<SettingsRead> template_settings_{TemplateSlot::first_kind + 1};
  Memo<RestingState> resting_;
  Memo<Batch> batches_;
  Memo<bool> lowered_;
  Memo<Template> templates_;
  std::deque<Template*> whole_;
  Memo<std::int64_t> forms_;
  Memo<Layout> layouts_;
  Memo<BlockForm> block_forms_;
  Memo<std::int64_t> group_ids_;
  Memo<BlockTime> times_;
  Memo<MemoryPlan::Peak> peaks_;
  Memo<GroupTime> group_times_;
  Memo<BlockRun> runs_;
  CauseNames causes_;
  std::vector<std::pair<std::string_view, std::string_view>> temp_names_;
  std::int64_t next_id_ = 0;
  // Of the plan at hand, and scratch space.
  std::vector<Template*> templates_at_hand_;
  std::vector<Numbers*> sources_;
  std::vector<std::int64_t> row_;
  NumberRow places_;
  std::vector<std::span<const std::int64_t>> numbers_at_hand_;
  Key key_;
  const MemoryPlan::Peak* peak_ = nullptr;
  std::vector<Picoseconds> sums_;  // by cause
  FluidEngine engine_;
};

Evaluator::Evaluator(Fidelity fidelity, Pruning pruning)
    : fidelity_(fidelity),
      pruning_(pruning),
      memory_(std::make_unique<Memory>(fidelity, pruning)) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;

Answer Evaluator::evaluate(const Plan& plan) {
  if (memory_->size() > most_results) memory_ = std::make_unique<Memory>(fidelity_, pruning_);
  return memory_->evaluate(plan);
}

}  // namespace meshsim
