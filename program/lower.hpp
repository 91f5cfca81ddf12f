// From a plan to the program of one of its training steps.
//
// Forward over the layers, loss, backward, optimizer. Weights sharded over fsdp (and, for all but
// expert kernels, over expert) are gathered in the activations' dtype before each use, once forward
// and once backward; gradients are reduce-scattered in the weights' dtype. Under remat policy
// `full` a block keeps its input only and is computed again in the backward pass, less what
// is then dead code; DeepSeek-V4's unrolled layers keep everything.
//
// How far ahead weights are gathered is a choice of the compiler that memory decides:
//   layer    the weights of the next layer while this one computes, and the gradients of the last
//            layer beside it
//   kernel   the weights of the next stage while this one computes: less memory, less overlap
#pragma once

#include <optional>
#include <string>

#include "plans/plan.hpp"
#include "program/step_program.hpp"

namespace meshsim {

enum class Prefetch { layer, kernel };
std::string_view name(Prefetch prefetch);

// Why no program can be made of `plan`, or nothing: parallelism and policies that are not modelled.
std::optional<std::string> not_lowered(const Plan& plan);

// Requires !not_lowered(plan). `arguments` is the size of the state and the batch.
StepProgram lower(const Plan& plan, Prefetch prefetch);

}  // namespace meshsim
