// The time of a step by discrete events.
//
// The program unrolls into activities with predecessors: the TensorCore runs its operations in
// program order, a Parallel starts its collectives with its first operation and waits for all of
// them at its end. Between events every running activity advances at its fair speed
// (sim/max_min.hpp); an event is the end of an activity. Simulated time is integer picoseconds;
// ends are rounded up; ties are first in, first out.
//
// A body whose state repeats is simulated once (sim/step_walk.hpp): the times are those of running
// all of it, to the picosecond, and so are their causes.
#pragma once

#include <cstdint>

#include "cost_models/routed_prices.hpp"
#include "sim/timeline.hpp"

namespace meshsim {

inline constexpr std::int64_t default_event_cap = 20'000'000;

// Throws Error: internal, naming the operations, when nothing can run although work is left;
// resource_limit beyond `event_cap` activities that may run at once, those of one Parallel.
Timeline simulate_events(const ProgramNode& node, const Machine& machine,
                         std::int64_t event_cap = default_event_cap);
// With leaves whose exchanges are `exchange_offset` further than they say.
Timeline simulate_events(const ProgramNode& node, RoutedPrices& prices,
                         std::int32_t exchange_offset, std::int64_t event_cap = default_event_cap);
Timeline simulate_events(const StepProgram& program, const Machine& machine,
                         std::int64_t event_cap = default_event_cap);

// The same, every repeat run from event to event, with the interval of every run of a leaf.
// Throws also beyond `event_cap` activities of the whole step.
Timeline simulate_unrolled(const StepProgram& program, const Machine& machine,
                           std::int64_t event_cap = default_event_cap);

}  // namespace meshsim
