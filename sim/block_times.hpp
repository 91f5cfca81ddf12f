// The time of a step from the times of its blocks, each computed once for all plans that share it.
//
//   T(step) = sum over groups g of sum over classes c of count_c x T(g, c)
//
// A block is a Parallel or operations in a row (sim/step_layout.hpp). Those of a layout that take
// their sizes from the same of its parts, from the head, from the state, from both or from neither,
// are a group: plans that differ in one part share the time of the others. The class of a block
// says whether it runs once per microbatch (1) and once per tile of the loss (2).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "sim/block_solver.hpp"
#include "sim/evaluation.hpp"
#include "sim/key.hpp"
#include "sim/plan_identity.hpp"
#include "sim/step_sources.hpp"

namespace meshsim {

struct BlockForm {
  std::int64_t id = 0;
  BlockInputs inputs;
  SolvableBlock block;
};

struct BlockUse {
  BlockForm* form = nullptr;
  std::int64_t times = 1;
  std::size_t count_class = 0;
};

struct BlockGroup {
  std::int64_t id = 0;
  BlockInputs inputs;
  std::vector<BlockUse> blocks;
};

struct StepTime {
  Picoseconds total;
  FlopCount model_flops;
  std::vector<Picoseconds> causes;  // by the number of the cause
};

class BlockTimes {
 public:
  explicit BlockTimes(Fidelity fidelity) : fidelity_(fidelity) {}

  // The blocks of a program with the sources at hand.
  std::vector<BlockGroup> groups_of(const StepProgram& program, StepSources& sources);

  // Of the plan whose sources are at hand. Valid until the next call.
  const StepTime& of(const Plan& plan, const Context& context, const Machine& machine,
                     const std::vector<BlockGroup>& groups, StepSources& sources);

  const CauseNames& causes() const { return causes_; }
  std::size_t forms() const { return block_forms_.size() + group_ids_.size(); }
  void forget_times();    // of sources that are forgotten
  void forget_surplus();  // beyond what sweeps of constant memory keep

 private:
  using GroupTime = std::array<BlockTime, 4>;  // by class
  struct Step;                                 // what the calls below have in common

  BlockForm& block_form(const Block& block, const BlockInputs& inputs, const StepSources& sources);
  void add_inputs(const BlockInputs& inputs, const StepSources& sources);
  const GroupTime& group_time(const Step& step, const BlockGroup& group);
  void add_runs(const Step& step, const BlockGroup& group);
  template <class Value, class Make>
  const Value& of_block(Memo<Value>& memo, const Step& step, const BlockGroup& group,
                        const BlockForm& form, StepWork& work, const Make& make);

  Fidelity fidelity_;
  Memo<BlockForm> block_forms_;
  Memo<std::int64_t> group_ids_;
  Memo<BlockTime> times_;
  Memo<GroupTime> group_times_;
  Memo<BlockRun> runs_;
  CauseNames causes_;
  std::int64_t next_id_ = 0;
  Key key_;        // scratch space
  StepTime time_;  // of the step at hand
  BlockSolver solver_;
};

}  // namespace meshsim
