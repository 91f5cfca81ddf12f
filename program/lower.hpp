// From a plan to the program of one of its training steps.
//
// Forward over the layers, loss, backward, optimizer. Weights sharded over fsdp (and, for all but
// expert kernels, over expert) are gathered in the activations' dtype before each use, once forward
// and once backward; gradients are reduce-scattered in the weights' dtype. Under remat policy
// `full` a block keeps its input only and is computed again in the backward pass, less what
// is then dead code; DeepSeek-V4's unrolled layers keep everything.
//
// How far ahead weights are gathered is a choice of the compiler. The body of a scan is its
// scheduling boundary; beyond that, memory decides:
//   layer    the weights of the next layer while this one computes, and the gradients of the last
//            layer beside it
//   kernel   the weights of the next stage while this one computes. Copies end with their stage,
//            but those of a recomputation stay for the backward pass
//   use      the same, and copies always end with their stage: XLA gathers again where memory is
//            short
#pragma once

#include <optional>
#include <string>

#include "plans/plan.hpp"
#include "program/step_program.hpp"
#include "program/step_templates.hpp"

namespace meshsim {

enum class Prefetch { layer, kernel, use };
std::string_view name(Prefetch prefetch);

// The furthest that XLA looks ahead: in scanned layers, a kernel. The batch-split schedule gathers
// a layer ahead by itself, whatever memory there is.
Prefetch furthest_prefetch(const Plan& plan);
// What takes less memory, or nothing.
std::optional<Prefetch> less_prefetch(const Plan& plan, Prefetch prefetch);

// Why no program can be made of `plan`, or nothing: parallelism and policies that are not modelled.
std::optional<std::string> not_lowered(const Plan& plan);

// Of one device in one step.
std::int64_t step_tokens(const Plan& plan);

// Requires !not_lowered(plan). The batch-split schedule is laid out in its own way, whatever
// `prefetch` says.
StepProgram lower(const Plan& plan, Prefetch prefetch);

// The same from the plan's step_templates() and its state_numbers(). What this reads of the plan
// besides decides the layout of the program, never a size in it.
StepProgram lower(const Plan& plan, Prefetch prefetch, const StepTemplates& templates,
                  const std::vector<std::int64_t>& state);

}  // namespace meshsim
