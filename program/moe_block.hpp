// One MoE layer alone, forward and backward, as micro-benchmarks run it.
//
//   inputs    x [T, D], and the chosen experts with their weights: there is no router
//   loss      mean of squares of the output, in float32
//   results   gradients of x and of the weights, reduced over the devices that share them
//
// Everything is kept for the backward pass, and there is no optimizer. plan.moe_block says how the
// tokens reach their experts.
#pragma once

#include <optional>
#include <string>

#include "program/lower.hpp"

namespace meshsim {

// Why no program can be made of `plan`, or nothing. Requires plan.moe_block.
std::optional<std::string> moe_block_not_lowered(const Plan& plan);

// The block as a template: the only one of the step.
LayerTemplate moe_block_template(const Plan& plan, const LocalBatch& batch);

// From the plan's step_templates().
StepProgram lower_moe_block(const Plan& plan, Prefetch prefetch, const StepTemplates& templates);

}  // namespace meshsim
