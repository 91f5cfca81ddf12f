#include "sim/evaluator.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "sim/plan_identity.hpp"
#include "sim/step_layout.hpp"
#include "units/interned.hpp"

namespace meshsim {
namespace {

// Beyond this many results all are forgotten: sweeps run in constant memory.
constexpr std::size_t most_results = 400'000;
// Templates that are kept whole, for blocks that are met for the first time.
constexpr std::size_t most_templates = 256;

struct RestingState {
  std::int64_t id = 0;
  std::vector<Bytes> categories;  // on the device, as state_categories()
  Bytes on_host;
  std::vector<std::int64_t> numbers;
};

struct Batch {
  Bytes on_device, on_host;
};

struct Template {
  std::int64_t id = 0;
  std::int64_t form = 0;
  std::vector<std::int64_t> numbers;
  std::shared_ptr<const LayerTemplate> whole;  // of the latest ones
};

struct BlockTime {
  Picoseconds total;
  FlopCount model_flops;
  std::vector<std::pair<std::size_t, Picoseconds>> causes;  // by number
};

// The blocks of a layout that run equally often, together.
struct LayoutTime {
  // By whether they run per microbatch (1) and per tile of the loss (2).
  std::array<BlockTime, 4> blocks;
};

// A block without its numbers, and the nodes to fill them in.
struct BlockForm {
  std::int64_t id = 0;
  std::vector<ProgramNode> nodes;
  std::vector<std::size_t> slots;
};

struct BlockUse {
  BlockForm* form = nullptr;
  Block count;  // without nodes
};

struct Layout {
  std::int64_t id = 0;
  bool traced = false;  // else: only the long way
  bool priced = false;
  MemoryPlan memory;
  std::vector<AmountTerm> host;
  std::vector<BlockUse> blocks;
  StepProgram program;  // for the event engine
};

// The templates of one plan, as they are remembered.
struct Templates {
  std::vector<Template*> slots;
  NumberRow row;
  std::vector<std::int64_t> numbers;
};

std::int64_t loss_tiles(const Plan& plan) { return plan.config.integer("num_vocab_tiling"); }

}  // namespace

class Evaluator::Memory {
 public:
  explicit Memory(Fidelity fidelity) : fidelity_(fidelity) {}

  Answer evaluate(const Plan& plan) {
    if (size() > most_results) forget();
    const PlanIdentity identity = identities_.of(plan);
    const RestingState& state = resting(plan, identity);
    const Batch batch = batch_of(plan, identity);
    Answer answer;
    Evaluation bounds;  // for what it says of the chip
    bounds.plan = &plan;
    answer.hbm_usable = bounds.hbm_usable();
    add_state(state, batch, answer);
    answer.verdict =
        answer.arguments > answer.hbm_usable ? Verdict::does_not_fit : Verdict::inconclusive;
    if (!is_lowered(plan, identity)) return answer;

    const Templates templates = templates_of(plan, identity, state);
    const Bytes available =
        answer.arguments < answer.hbm_usable ? answer.hbm_usable - answer.arguments : Bytes();
    answer.prefetch = furthest_prefetch(plan);
    Layout* layout = nullptr;
    for (;;) {
      layout = &layout_of(plan, identity, answer.prefetch, templates, state);
      if (!layout->traced) break;
      layout->memory.peak(templates.numbers, peak_);
      const std::optional<Prefetch> less = less_prefetch(answer.prefetch);
      if (peak_.temp <= available || !less) break;
      answer.prefetch = *less;
    }
    if (!layout->traced) return answer_of(meshsim::evaluate(plan, fidelity_));
    if (!layout->priced) {
      answer.prefetch = Prefetch::layer;
      return answer;
    }
    answer.timed = true;
    answer.temp = peak_.temp;
    answer.on_host += amount_of(layout->host, templates.numbers);
    answer.verdict = answer.peak() > answer.hbm_usable ? Verdict::does_not_fit : Verdict::fits;
    for (const auto& [category, bytes] : peak_.categories)
      answer.memory.emplace_back(temp_name(category), bytes);
    add_time(plan, identity, *layout, templates, state, answer);
    return answer;
  }

 private:
  std::size_t size() const {
    return identities_.size() + resting_.size() + batches_.size() + lowered_.size() +
           templates_.size() + layouts_.size() + times_.size() + layout_times_.size();
  }

  void forget() { *this = Memory(fidelity_); }

  // ---- state

  const RestingState& resting(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.context->id).add(identity.model).add(identity.rules);
    key_.add(identity.layout).add(plan.scan_axis).add(static_cast<std::int64_t>(plan.expert_axes));
    key_.add(static_cast<std::int64_t>(t.weights)).add(static_cast<std::int64_t>(t.first_moment));
    key_.add(static_cast<std::int64_t>(t.optimizer)).add(t.optimizer_on_host ? 1 : 0);
    key_.add(t.parameters_on_host ? 1 : 0).add(t.optimizer_over_data ? 1 : 0);
    const Key most = key_;
    resting_settings_.add_to(key_, plan.config);
    if (const RestingState* known = resting_.find(key_)) return *known;
    const TrainingState made =
        resting_settings_.watch(plan.config, [&] { return resting_state(plan); });
    RestingState state;
    state.id = next_id_++;
    for (const std::string& category : state_categories())
      state.categories.push_back(made.on_device(category));
    state.on_host = made.on_host();
    state.numbers = state_numbers(made);
    key_ = most;
    resting_settings_.add_to(key_, plan.config);
    return resting_.insert(key_, std::move(state));
  }

  Batch batch_of(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.context->id).add(identity.rules);
    key_.add(t.global_batch).add(t.sequence_length);
    const Key most = key_;
    batch_settings_.add_to(key_, plan.config);
    if (const Batch* known = batches_.find(key_)) return *known;
    TrainingState made;
    batch_settings_.watch(plan.config, [&] { append_batch(plan, made); });
    key_ = most;
    batch_settings_.add_to(key_, plan.config);
    return batches_.insert(key_, {made.batch(), made.on_host()});
  }

  void add_state(const RestingState& state, const Batch& batch, Answer& answer) {
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
    const Key most = key_;
    lowered_settings_.add_to(key_, plan.config);
    if (const bool* known = lowered_.find(key_)) return *known;
    const bool lowered =
        lowered_settings_.watch(plan.config, [&] { return !not_lowered(plan).has_value(); });
    key_ = most;
    lowered_settings_.add_to(key_, plan.config);
    return lowered_.insert(key_, lowered);
  }

  Templates templates_of(const Plan& plan, const PlanIdentity& identity,
                         const RestingState& state) {
    Templates all;
    for (std::size_t slot = 0; slot < slot_count(plan); ++slot) {
      all.slots.push_back(&template_of(plan, identity, slot));
      all.row.first.push_back(static_cast<NumberId>(all.numbers.size()));
      const std::vector<std::int64_t>& numbers = all.slots.back()->numbers;
      all.numbers.insert(all.numbers.end(), numbers.begin(), numbers.end());
    }
    all.row.first.push_back(static_cast<NumberId>(all.numbers.size()));
    all.numbers.insert(all.numbers.end(), state.numbers.begin(), state.numbers.end());
    return all;
  }

  SettingsRead& template_settings(std::size_t slot) {
    return template_settings_[std::min<std::size_t>(slot, TemplateSlot::first_kind)];
  }

  void template_key(const Plan& plan, const PlanIdentity& identity, std::size_t slot) {
    key_.clear().add(static_cast<std::int64_t>(slot)).add(identity.shape);
    template_settings(slot).add_to(key_, plan.config);
  }

  Template& template_of(const Plan& plan, const PlanIdentity& identity, std::size_t slot) {
    template_key(plan, identity, slot);
    if (Template* known = templates_.find(key_)) return *known;
    std::shared_ptr<const LayerTemplate> whole = whole_template(plan, slot);
    Template made;
    made.id = next_id_++;
    made.form = forms_.id(template_form(*whole));
    made.numbers = template_numbers(*whole);
    template_key(plan, identity, slot);
    Template& kept = templates_.insert(key_, std::move(made));
    keep_whole(kept, std::move(whole));
    return kept;
  }

  std::shared_ptr<const LayerTemplate> whole_template(const Plan& plan, std::size_t slot) {
    return template_settings(slot).watch(plan.config, [&] {
      return std::make_shared<const LayerTemplate>(
          slot_template(plan, static_cast<int>(slot), local_batch(plan)));
    });
  }

  void keep_whole(Template& kept, std::shared_ptr<const LayerTemplate> whole) {
    kept.whole = std::move(whole);
    whole_.push_back(&kept);
    if (whole_.size() <= most_templates) return;
    whole_.front()->whole.reset();
    whole_.pop_front();
  }

  StepTemplates whole_templates(const Plan& plan, const Templates& templates,
                                const std::vector<std::size_t>& slots) {
    StepTemplates all;
    all.slots.resize(templates.slots.size());
    for (const std::size_t slot : slots) {
      if (slot >= templates.slots.size()) continue;  // the state
      Template& kept = *templates.slots[slot];
      if (!kept.whole) keep_whole(kept, whole_template(plan, slot));
      all.slots[slot] = kept.whole;
    }
    return all;
  }

  void layout_key(const Plan& plan, const PlanIdentity& identity, Prefetch prefetch,
                  const Templates& templates, const RestingState& state) {
    key_.clear().add(static_cast<std::int64_t>(prefetch));
    add_forms(templates);
    key_.add(identity.model).add(identity.layout).add(static_cast<std::int64_t>(plan.expert_axes));
    // Of axes along which devices do the same to other data, whether there are any.
    for (const MeshAxis& axis : plan.mesh.axes) {
      const bool alike = axis.name == "data" || axis.name == "fsdp" ||
                         axis.name == "fsdp_transpose" || axis.name == "expert";
      key_.add(axis.name);
      key_.add(alike ? (axis.ici > 1 ? 2 : 1) : axis.ici);
      key_.add(alike ? (axis.dcn > 1 ? 2 : 1) : axis.dcn);
    }
    key_.add(plan.topology.slice.chip->name).add(plan.topology.slices > 1 ? 1 : 0);
    key_.add(plan.training.gradient_accumulation > 1 ? 1 : 0).add(loss_tiles(plan) > 1 ? 1 : 0);
    const auto on_host = static_cast<std::size_t>(StateNumber::host_state);
    key_.add(state.numbers[on_host] > 0 ? 1 : 0);
    add_own(key_, plan);
    layout_settings_.add_to(key_, plan.config);
  }

  void add_forms(const Templates& templates) {
    for (const Template* one : templates.slots) key_.add(one->form);
  }

  Layout& layout_of(const Plan& plan, const PlanIdentity& identity, Prefetch prefetch,
                    const Templates& templates, const RestingState& state) {
    layout_key(plan, identity, prefetch, templates, state);
    if (Layout* known = layouts_.find(key_)) return *known;
    std::vector<std::size_t> all_slots(templates.slots.size());
    for (std::size_t i = 0; i < all_slots.size(); ++i) all_slots[i] = i;
    const StepTemplates whole = whole_templates(plan, templates, all_slots);
    StepProgram program = layout_settings_.watch(
        plan.config, [&] { return lower(plan, prefetch, whole, state.numbers); });
    Layout layout;
    layout.id = next_id_++;
    layout.traced = is_traced(program);
    if (layout.traced) {
      layout.priced = !not_priced(plan.topology, program).has_value();
      layout.memory = MemoryPlan(program);
      layout.host = program.host.terms();
      for (const Block& block : blocks_of(program.root))
        layout.blocks.push_back({&block_form(block, templates),
                                 {{}, block.times, block.per_microbatch, block.per_tile}});
      if (fidelity_ == Fidelity::event) layout.program = std::move(program);
    }
    layout_key(plan, identity, prefetch, templates, state);
    return layouts_.insert(key_, std::move(layout));
  }

  BlockForm& block_form(const Block& block, const Templates& templates) {
    key_.clear();
    add_forms(templates);
    add_block(key_, block);
    if (BlockForm* known = block_forms_.find(key_)) return *known;
    BlockForm form;
    form.id = next_id_++;
    form.slots = slots_of(block, templates.row);
    for (const ProgramNode* node : block.nodes) form.nodes.push_back(*node);
    return block_forms_.insert(key_, std::move(form));
  }

  // ---- time

  void add_time(const Plan& plan, const PlanIdentity& identity, Layout& layout,
                const Templates& templates, const RestingState& state, Answer& answer) {
    const Machine& machine = identities_.machine(plan, *identity.context);
    const std::int64_t microbatches = plan.training.gradient_accumulation;
    const std::int64_t tiles = loss_tiles(plan);
    FlopCount model_flops;
    causes_.assign(cause_names_.size(), {false, Picoseconds()});
    for (const bool with_state : {false, true}) {
      const LayoutTime& time =
          time_of(plan, identity, layout, with_state, templates, state, machine);
      causes_.resize(cause_names_.size(), {false, Picoseconds()});
      for (std::size_t i = 0; i < time.blocks.size(); ++i) {
        const BlockTime& blocks = time.blocks[i];
        const std::int64_t count = ((i & 1U) != 0 ? microbatches : 1) * ((i & 2U) != 0 ? tiles : 1);
        answer.step_time += blocks.total * count;
        model_flops += blocks.model_flops * count;
        for (const auto& [cause, part] : blocks.causes) {
          causes_[cause].first = true;
          causes_[cause].second += part * count;
        }
      }
    }
    if (fidelity_ == Fidelity::event) {
      simulate(plan, layout, templates, machine, answer);
    }
    for (std::size_t i = 0; i < causes_.size(); ++i) {
      if (causes_[i].first) answer.time.emplace_back(cause_names_[i], causes_[i].second);
    }
    std::sort(answer.time.begin(), answer.time.end());
    const double time = seconds(answer.step_time);
    answer.mfu = static_cast<double>(model_flops.value()) / (machine.matmul_peak.value() * time);
    answer.tokens_per_s_per_device = static_cast<double>(step_tokens(plan)) / time;
  }

  // Of the blocks of `layout` whose sizes come from the state as well, or of the others.
  const LayoutTime& time_of(const Plan& plan, const PlanIdentity& identity, const Layout& layout,
                            bool with_state, const Templates& templates, const RestingState& state,
                            const Machine& machine) {
    Key& key = layout_time_key_.clear().add(layout.id).add(identity.context->id);
    key.add(with_state ? state.id : -1);
    for (const Template* one : templates.slots) key.add(one->id);
    if (const LayoutTime* known = layout_times_.find(key)) return *known;
    LayoutTime sum;
    for (const BlockUse& use : layout.blocks) {
      const bool of_state = use.form->slots.back() >= templates.slots.size();
      if (of_state != with_state) continue;
      const BlockTime& time = time_of(plan, identity, *use.form, templates, state, machine);
      BlockTime& to =
          sum.blocks[(use.count.per_microbatch ? 1U : 0U) + (use.count.per_tile ? 2U : 0U)];
      to.total += time.total * use.count.times;
      to.model_flops += time.model_flops * use.count.times;
      for (const auto& [cause, part] : time.causes) add_cause(to, cause, part * use.count.times);
    }
    return layout_times_.insert(key, std::move(sum));
  }

  const BlockTime& time_of(const Plan& plan, const PlanIdentity& identity, BlockForm& form,
                           const Templates& templates, const RestingState& state,
                           const Machine& machine) {
    key_.clear().add(form.id).add(identity.context->id);
    for (const std::size_t slot : form.slots)
      key_.add(slot < templates.slots.size() ? templates.slots[slot]->id : state.id);
    if (const BlockTime* known = times_.find(key_)) return *known;
    BlockTime time;
    const Operations operations(whole_templates(plan, templates, form.slots));
    for (ProgramNode& node : form.nodes) {
      renumber(node, operations, templates.numbers);
      for_each_leaf(node, [&](const Leaf& leaf, std::int64_t times) {
        const auto* work = std::get_if<Compute>(&leaf.work);
        const bool model = leaf.pass == Pass::forward || leaf.pass == Pass::backward;
        if (work != nullptr && model) time.model_flops += work->model_flops * times;
      });
      if (fidelity_ == Fidelity::event) continue;
      const Timeline alone = closed_form(node, machine);
      time.total += alone.total;
      for (const TimePart& part : alone.parts) add_cause(time, cause_number(part.cause), part.time);
    }
    return times_.insert(key_, std::move(time));
  }

  static void add_cause(BlockTime& time, std::size_t cause, Picoseconds part) {
    for (auto& [known, sum] : time.causes) {
      if (known != cause) continue;
      sum += part;
      return;
    }
    time.causes.emplace_back(cause, part);
  }

  std::size_t cause_number(std::string_view cause) {
    const auto at = std::find(cause_names_.begin(), cause_names_.end(), cause);
    if (at != cause_names_.end()) return static_cast<std::size_t>(at - cause_names_.begin());
    cause_names_.push_back(interned(cause));
    return cause_names_.size() - 1;
  }

  // The whole step by events: only its layout is remembered.
  void simulate(const Plan& plan, Layout& layout, const Templates& templates,
                const Machine& machine, Answer& answer) {
    std::vector<std::size_t> all_slots(templates.slots.size());
    for (std::size_t i = 0; i < all_slots.size(); ++i) all_slots[i] = i;
    const Operations operations(whole_templates(plan, templates, all_slots));
    renumber(layout.program.root, operations, templates.numbers);
    set_counts(layout.program.root, plan.training.gradient_accumulation, loss_tiles(plan));
    const Timeline timeline = simulate_events(layout.program, machine);
    answer.step_time = timeline.total;
    for (const TimePart& part : timeline.parts) {
      const std::size_t cause = cause_number(part.cause);
      causes_.resize(cause_names_.size(), {false, Picoseconds()});
      causes_[cause].first = true;
      causes_[cause].second += part.time;
    }
  }

  static void set_counts(ProgramNode& node, std::int64_t microbatches, std::int64_t tiles) {
    if (node.counts == RepeatOf::microbatches) node.times = microbatches;
    if (node.counts == RepeatOf::loss_tiles) node.times = tiles;
    for (ProgramNode& child : node.children) set_counts(child, microbatches, tiles);
  }

  Fidelity fidelity_;
  PlanIdentities identities_;
  SettingsRead resting_settings_, batch_settings_, lowered_settings_;
  SettingsRead layout_settings_{"num_vocab_tiling"};  // a count beyond 1: RepeatOf::loss_tiles
  std::vector<SettingsRead> template_settings_{TemplateSlot::first_kind + 1};
  Memo<RestingState> resting_;
  Memo<Batch> batches_;
  Memo<bool> lowered_;
  Memo<Template> templates_;
  std::deque<Template*> whole_;
  Known<std::string> forms_;
  Memo<Layout> layouts_;
  Memo<BlockForm> block_forms_;
  Memo<BlockTime> times_;
  Memo<LayoutTime> layout_times_;
  std::vector<std::string_view> cause_names_;
  std::vector<std::pair<std::string_view, std::string_view>> temp_names_;
  std::int64_t next_id_ = 0;
  // Scratch space.
  Key key_, layout_time_key_;
  MemoryPlan::Peak peak_;
  std::vector<std::pair<bool, Picoseconds>> causes_;
};

Evaluator::Evaluator(Fidelity fidelity) : memory_(std::make_unique<Memory>(fidelity)) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;

Answer Evaluator::evaluate(const Plan& plan) { return memory_->evaluate(plan); }

}  // namespace meshsim
