// The time of a step as a formula over its tree.
//
//   T(Leaf) = its price     T(Sequence) = sum of T(children)     T(Repeat) = n T(body)
//   T(Parallel) = the fluid solution of that Parallel alone
//
// A Parallel's children share HBM and links; how long that takes has no shorter form than solving
// it (event_engine.hpp), once for each Parallel, however often a Repeat runs it. Against the event
// engine, which runs the whole step, times are rounded to picoseconds once per body instead of once
// per repeat.
#pragma once

#include "cost_models/price.hpp"
#include "sim/timeline.hpp"

namespace meshsim {

Timeline closed_form(const StepProgram& program, const Machine& machine);
Timeline closed_form(const ProgramNode& node, const Machine& machine);  // a part of one

}  // namespace meshsim
