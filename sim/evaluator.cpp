#include "sim/evaluator.hpp"

#include <utility>

#include "program/memory_plan.hpp"
#include "sim/block_times.hpp"
#include "sim/plan_identity.hpp"
#include "sim/step_sources.hpp"
#include "units/name.hpp"

namespace meshsim {
namespace {

// Sweeps run in constant memory: beyond these numbers what was found is forgotten. Plans that share
// results stand close together, so that little of it is asked for again.
//
// Of templates: shapes that were met. What was found for them goes with them.
constexpr std::size_t most_shapes = 12'000;
constexpr std::size_t most_peaks = 50'000;
// Of everything else, which costs most to find again.
constexpr std::size_t most_results = 100'000;
// Programs that are laid out: each weighs as much as so many other results.
constexpr std::size_t layout_weight = 100;

struct RestingState {
  StepSource source;
  std::vector<Bytes> categories;  // on the device, as state_categories()
  Bytes on_host;
};

struct Batch {
  Bytes on_device, on_host;
};

struct Layout {
  std::int64_t id = 0;
  bool traced = false;  // else: only the long way
  bool priced = false;
  MemoryPlan memory;
  std::vector<AmountTerm> host;
  std::vector<BlockGroup> groups;
};

const Names& category_names() {
  static const Names names(state_categories().begin(), state_categories().end());
  return names;
}

}  // namespace

class Evaluator::Memory {
 public:
  Memory(Fidelity fidelity, Pruning pruning)
      : fidelity_(fidelity), pruning_(pruning), blocks_(fidelity) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::size_t size() const {
    return values_.size() + identities_.size() + resting_.size() + batches_.size() +
           lowered_.size() + sources_.forms() + layout_weight * layouts_.size() + blocks_.forms();
  }

  Answer evaluate(const Plan& plan) {
    // Loads differ from layer to layer: little would be shared.
    const bool alone = !plan.routing.balanced();
    if (alone && pruning_ == Pruning::none) return answer_of(meshsim::evaluate(plan, fidelity_));
    forget_much();
    values_.look_at(plan.config);
    const PlanIdentity identity = identities_.of(plan);
    const RestingState& state = resting(plan, identity);
    Answer answer;
    answer.hbm_usable = identity.place->hbm_usable;
    add_state(state, batch_of(plan, identity), answer);
    answer.verdict =
        answer.arguments > answer.hbm_usable ? Verdict::does_not_fit : Verdict::inconclusive;
    if (answer.verdict == Verdict::does_not_fit && pruning_ == Pruning::by_arguments) return answer;
    if (alone) return answer_of(meshsim::evaluate(plan, fidelity_));
    if (!is_lowered(plan, identity)) return answer;

    sources_.look_at(plan, identity.shape, state.source);
    const Bytes available =
        answer.arguments < answer.hbm_usable ? answer.hbm_usable - answer.arguments : Bytes();
    answer.prefetch = furthest_prefetch(plan);
    Layout* layout = nullptr;
    const MemoryPlan::Peak* peak = nullptr;
    for (;;) {
      layout = &layout_of(plan, identity, answer.prefetch);
      if (!layout->traced) return answer_of(meshsim::evaluate(plan, fidelity_));
      peak = &peak_of(*layout);
      const std::optional<Prefetch> less = less_prefetch(plan, answer.prefetch);
      if (peak->temp <= available || !less) break;
      answer.prefetch = *less;
    }
    if (!layout->priced) {
      answer.prefetch = Prefetch::layer;
      return answer;
    }
    answer.timed = true;
    answer.temp = peak->temp;
    if (!layout->host.empty()) answer.on_host += amount_of(layout->host, sources_.row());
    answer.verdict = answer.peak() > answer.hbm_usable ? Verdict::does_not_fit : Verdict::fits;
    for (const auto& [category, bytes] : peak->categories)
      answer.memory.emplace_back(temp_name(category), bytes);
    add_time(plan, *identity.context, *layout, answer);
    return answer;
  }

 private:
  void forget_much() {
    if (sources_.shapes() > most_shapes) {
      sources_.forget_shapes();
      blocks_.forget_times();
      peaks_.clear();
    }
    if (peaks_.size() > most_peaks) peaks_.clear();
    blocks_.forget_surplus();
  }

  const RestingState& resting(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.place->id);
    key_.add(identity.layout).add(plan.scan_axis).add(static_cast<std::int64_t>(plan.expert_axes));
    key_.add(static_cast<std::int64_t>(t.weights)).add(static_cast<std::int64_t>(t.first_moment));
    key_.add(static_cast<std::int64_t>(t.optimizer)).add(t.optimizer_on_host ? 1 : 0);
    key_.add(t.parameters_on_host ? 1 : 0).add(t.optimizer_over_data ? 1 : 0);
    return remembered(resting_, key_, resting_settings_, values_, [&] {
      const TrainingState made = resting_state(plan);
      RestingState state;
      for (const std::string& category : state_categories())
        state.categories.push_back(made.on_device(category));
      state.on_host = made.on_host();
      state.source = sources_.source({}, state_numbers(made));
      return state;
    });
  }

  const Batch& batch_of(const Plan& plan, const PlanIdentity& identity) {
    const Training& t = plan.training;
    key_.clear().add(identity.place->id).add(t.global_batch).add(t.sequence_length);
    return remembered(batches_, key_, batch_settings_, values_, [&] {
      TrainingState made;
      append_batch(plan, made);
      return Batch{made.batch(), made.on_host()};
    });
  }

  static void add_state(const RestingState& state, const Batch& batch, Answer& answer) {
    static const Name batch_name("batch");
    constexpr std::size_t most_categories = 32;
    answer.memory.reserve(most_categories);
    for (std::size_t i = 0; i < state.categories.size(); ++i) {
      const Name name = category_names()[i];
      const Bytes bytes = name == batch_name ? batch.on_device : state.categories[i];
      answer.memory.emplace_back(name, bytes);
      answer.arguments += bytes;
    }
    answer.on_host = state.on_host + batch.on_host;
  }

  // "temp:" + category
  Name temp_name(Name category) {
    for (const auto& [known, name] : temp_names_) {
      if (known == category) return name;
    }
    return temp_names_.emplace_back(category, "temp:" + category).second;
  }

  bool is_lowered(const Plan& plan, const PlanIdentity& identity) {
    key_.clear().add(identity.shape).add(identity.layout);
    return remembered(lowered_, key_, lowered_settings_, values_,
                      [&] { return !not_lowered(plan).has_value(); });
  }

  Layout& layout_of(const Plan& plan, const PlanIdentity& identity, Prefetch prefetch) {
    key_.clear().add(static_cast<std::int64_t>(prefetch));
    sources_.add_forms(key_);
    key_.add(identity.place->form).add(identity.layout);
    key_.add(static_cast<std::int64_t>(plan.expert_axes));
    key_.add(plan.training.gradient_accumulation > 1 ? 1 : 0);
    key_.add(plan.config.integer("num_vocab_tiling") > 1 ? 1 : 0);
    const std::size_t inputs = key_.words().size();
    layout_settings_.add_to(key_, values_);
    if (Layout* known = layouts_.find(key_)) return *known;
    key_.cut(inputs);
    // Here, since the settings that a template reads are not read by what is laid out of it.
    const StepTemplates templates = sources_.whole(plan);
    return remembered(layouts_, key_, layout_settings_, values_, [&] {
      const std::vector<std::int64_t>& state = sources_.at(sources_.state_slot()).numbers->values;
      const StepProgram program = lower(plan, prefetch, templates, state);
      Layout layout;
      layout.id = next_id_++;
      layout.traced = is_traced(program);
      if (!layout.traced) return layout;
      layout.priced = !not_priced(plan.topology, program).has_value();
      layout.memory = MemoryPlan(program, sources_.row(), sources_.places().first);
      layout.host = program.host.terms();
      layout.groups = blocks_.groups_of(program, sources_);
      return layout;
    });
  }

  const MemoryPlan::Peak& peak_of(Layout& layout) {
    key_.clear().add(layout.id);
    sources_.add_number_ids(key_);
    if (const MemoryPlan::Peak* known = peaks_.find(key_)) return *known;
    MemoryPlan::Peak peak;
    layout.memory.peak(sources_.numbers(), peak);
    return peaks_.insert(key_, std::move(peak));
  }

  void add_time(const Plan& plan, Context& context, const Layout& layout, Answer& answer) {
    const Machine& machine = identities_.machine(plan, context);
    const StepTime& step = blocks_.of(plan, context, machine, layout.groups, sources_);
    answer.step_time = step.total;
    answer.time.reserve(step.causes.size());
    for (const std::size_t i : blocks_.causes().sorted()) {
      if (step.causes[i] > Picoseconds())
        answer.time.emplace_back(blocks_.causes().name(i), step.causes[i]);
    }
    const double time = seconds(step.total);
    answer.mfu =
        static_cast<double>(step.model_flops.value()) / (machine.matmul_peak.value() * time);
    answer.tokens_per_s_per_device = static_cast<double>(step_tokens(plan)) / time;
  }

  Fidelity fidelity_;
  Pruning pruning_;
  SettingValues values_;
  PlanIdentities identities_{values_};
  StepSources sources_{values_};
  BlockTimes blocks_;
  SettingsRead resting_settings_, batch_settings_, lowered_settings_;
  SettingsRead layout_settings_{"num_vocab_tiling"};  // a count beyond 1: RepeatOf::loss_tiles
  Memo<RestingState> resting_;
  Memo<Batch> batches_;
  Memo<bool> lowered_;
  Memo<Layout> layouts_;
  Memo<MemoryPlan::Peak> peaks_;
  std::vector<std::pair<Name, Name>> temp_names_;
  std::int64_t next_id_ = 0;
  Key key_;  // scratch space
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
