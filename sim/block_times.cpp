#include "sim/block_times.hpp"

#include <algorithm>
#include <utility>

namespace meshsim {
namespace {

// Of times, by groups of blocks and by blocks; and of runs of blocks for the event engine, which
// keeps the time of every operation.
constexpr std::size_t most_group_times = 100'000, most_block_times = 50'000,
                      most_block_runs = 4'000;

constexpr std::size_t per_microbatch = 1, per_tile = 2;  // classes

std::int64_t count_of(const Plan& plan, std::size_t count_class) {
  return ((count_class & per_microbatch) != 0 ? plan.training.gradient_accumulation : 1) *
         ((count_class & per_tile) != 0 ? plan.config.integer("num_vocab_tiling") : 1);
}

}  // namespace

struct BlockTimes::Step {
  const Plan& plan;
  const Context& context;
  const Machine& machine;
  StepSources& sources;
};

std::vector<BlockGroup> BlockTimes::groups_of(const StepProgram& program, StepSources& sources) {
  std::vector<BlockGroup> groups(4);
  for (const Block& block : blocks_of(program.root)) {
    const BlockInputs inputs = inputs_of(block, sources.places());
    BlockGroup& group = groups[(inputs.reads(TemplateSlot::head) ? 1U : 0U) +
                               (inputs.reads(sources.state_slot()) ? 2U : 0U)];
    group.inputs = united(group.inputs, inputs);
    const BlockUse use{
        &block_form(block, inputs, sources), block.times,
        (block.per_microbatch ? per_microbatch : 0) + (block.per_tile ? per_tile : 0)};
    const auto known =
        std::find_if(group.blocks.begin(), group.blocks.end(), [&](const BlockUse& one) {
          return one.form == use.form && one.count_class == use.count_class;
        });
    // The event engine splits the times of every block of its own into causes.
    if (fidelity_ == Fidelity::event || known == group.blocks.end()) {
      group.blocks.push_back(use);
    } else {
      known->times += use.times;
    }
  }
  std::erase_if(groups, [](const BlockGroup& group) { return group.blocks.empty(); });
  for (BlockGroup& group : groups) {
    Key key;
    for (const BlockUse& use : group.blocks)
      key.add(use.form->id).add(use.times).add(static_cast<std::int64_t>(use.count_class));
    const std::int64_t* known = group_ids_.find(key);
    group.id = known != nullptr ? *known : group_ids_.insert(key, next_id_++);
  }
  return groups;
}

BlockForm& BlockTimes::block_form(const Block& block, const BlockInputs& inputs,
                                  const StepSources& sources) {
  Key key;
  sources.add_forms(key);
  add_block(key, block);
  if (BlockForm* known = block_forms_.find(key)) return *known;
  std::vector<ProgramNode> nodes;
  for (const ProgramNode* node : block.nodes) nodes.push_back(*node);
  BlockForm form{next_id_++, inputs, SolvableBlock(std::move(nodes), causes_)};
  return block_forms_.insert(key, std::move(form));
}

const StepTime& BlockTimes::of(const Plan& plan, const Context& context, const Machine& machine,
                               const std::vector<BlockGroup>& groups, StepSources& sources) {
  const Step step{plan, context, machine, sources};
  time_.total = {};
  time_.model_flops = {};
  time_.causes.assign(causes_.size(), Picoseconds());
  for (const BlockGroup& group : groups) {
    if (fidelity_ == Fidelity::event) {
      add_runs(step, group);
      continue;
    }
    const GroupTime& time = group_time(step, group);
    for (std::size_t i = 0; i < time.size(); ++i) {
      const std::int64_t count = count_of(plan, i);
      time_.total += time[i].total * count;
      time_.model_flops += time[i].model_flops * count;
      for (const auto& [cause, part] : time[i].causes) time_.causes[cause] += part * count;
    }
  }
  return time_;
}

void BlockTimes::add_inputs(const BlockInputs& inputs, const StepSources& sources) {
  for (const std::size_t slot : inputs.slots) key_.add(sources.at(slot).id);
  for (const BlockInputs::Number& number : inputs.numbers)
    key_.add(sources.at(number.slot).numbers->values[number.place]);
}

// Result `memo` of a block of `group` under its inputs, made by `make()`. `work`: that of the
// group's slots, once it is needed.
template <class Value, class Make>
const Value& BlockTimes::of_block(Memo<Value>& memo, const Step& step, const BlockGroup& group,
                                  const BlockForm& form, StepWork& work, const Make& make) {
  key_.clear().add(form.id).add(step.context.id);
  add_inputs(form.inputs, step.sources);
  if (const Value* known = memo.find(key_)) return *known;
  if (work.empty()) work = step.sources.work(step.plan, group.inputs.slots);
  return memo.insert(key_, make());
}

const BlockTimes::GroupTime& BlockTimes::group_time(const Step& step, const BlockGroup& group) {
  key_.clear().add(group.id).add(step.context.id);
  add_inputs(group.inputs, step.sources);
  if (const GroupTime* known = group_times_.find(key_)) return *known;
  const Key key = key_;
  GroupTime sum;
  StepWork work;
  for (const BlockUse& use : group.blocks) {
    const BlockTime& time = of_block(times_, step, group, *use.form, work, [&] {
      return use.form->block.solve(work, step.sources.row(), step.machine, solver_);
    });
    sum[use.count_class].add(time, use.times);
  }
  return group_times_.insert(key, std::move(sum));
}

// Of the event engine.
void BlockTimes::add_runs(const Step& step, const BlockGroup& group) {
  StepWork work;
  for (const BlockUse& use : group.blocks) {
    const BlockRun& run = of_block(runs_, step, group, *use.form, work, [&] {
      use.form->block.run(work, step.sources.row(), step.machine, solver_);
      return solver_.run;
    });
    const std::int64_t count = use.times * count_of(step.plan, use.count_class);
    time_.total += run.total * count;
    time_.model_flops += run.model_flops * count;
    run.split(count, [&](std::size_t cause, Picoseconds part) { time_.causes[cause] += part; });
  }
}

void BlockTimes::forget_times() {
  group_times_.clear();
  times_.clear();
}

void BlockTimes::forget_surplus() {
  if (group_times_.size() > most_group_times) group_times_.clear();
  if (times_.size() > most_block_times) times_.clear();
  if (runs_.size() > most_block_runs) runs_.clear();
}

}  // namespace meshsim
