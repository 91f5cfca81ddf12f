// The time of a step in closed form.
//
// A leaf takes its price. A Sequence is the sum of its children, a Repeat n times its body. In a
// Parallel, the children are laid over each other as if nothing slowed them; a span in which they
// together ask for more of a resource than there is, is stretched by that factor:
//
//   T = sum over spans of d max(1, max_r sum_i use_ir)
//
// Against the event engine this slows everyone in a span alike, also those that do not use the full
// resource: work beside two collectives on the same links.
//
// Faster is not always sooner, in either fidelity. Transfers that share HBM are slowed while an
// operation beside them wants all of it, and cannot catch up afterwards where their links bound
// them; a faster MXU or faster links make the same bytes burstier. Only the larger of the critical
// path and of what each resource moves in all is a bound that no faster resource raises.
#pragma once

#include "cost_models/price.hpp"
#include "sim/timeline.hpp"

namespace meshsim {

Timeline closed_form(const StepProgram& program, const Machine& machine);

}  // namespace meshsim
