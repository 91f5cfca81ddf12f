// The forward and backward pass of one layer under either prefetch.
#pragma once

#include <string>
#include <vector>

#include "program/emitter.hpp"
#include "program/lower.hpp"

namespace meshsim {

// What runs beside a layer under Prefetch::layer: collectives of its neighbours, in order.
using Beside = std::vector<ProgramNode>;

class LayerPasses {
 public:
  LayerPasses(Emitter& emit, Prefetch prefetch) : emit_(emit), prefetch_(prefetch) {}

  bool ahead() const { return prefetch_ == Prefetch::layer; }

  // The whole forward pass. Under Prefetch::layer the weights of `instance` must have been
  // gathered. The deferred stages of the layer are left to the one after it; those of `before` run
  // beside the first stage.
  ProgramNode forward(Instance& instance, Beside beside, Instance* before = nullptr);

  // The deferred stages of a layer by themselves.
  std::vector<ProgramNode> deferred(Instance& instance);

  // The forward operations that `again` marks.
  std::vector<ProgramNode> recompute(Instance& instance, const Recomputation& again);

  // The backward pass. `store` receives the reduced gradients, those of a stage beside the stage
  // before it, or, of a layer that runs alone (`alone`), in no hurry: after all of it. Under
  // Prefetch::layer reducing them is left to the caller. `begun`: the deferred stages have been
  // run; those of `next`, the layer that comes before this one, run beside the last that is left.
  std::vector<ProgramNode> backward(Instance& instance, BufferId store, bool alone = false,
                                    bool begun = false, Instance* next = nullptr);

 private:
  // Copies the gathered weights `which` into the layout of their products, unless that was done.
  std::vector<ProgramNode> lay_out(Instance& instance, const std::vector<std::size_t>& which,
                                   Pass pass, bool ends);

  // Stage by stage, each stage's weights gathered beside the stage before it. Copies of weights end
  // with their stage, or stay.
  std::vector<ProgramNode> by_stage(Instance& instance, Pass pass, const Recomputation* keep,
                                    bool stay, Instance* before = nullptr);

  bool stays() const { return prefetch_ != Prefetch::use; }

  Emitter& emit_;
  Prefetch prefetch_;
};

}  // namespace meshsim
