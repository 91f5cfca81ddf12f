// The best plans of a sweep once more, in the event engine: what the closed form promised of them
// beside what a run of the whole step shows, under a routing of its own if one is named.
//
// A plan goes the ordinary way of `simulate --fidelity event`, so that its command gives the same
// figures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reports/sweep_report.hpp"
#include "studies/sweep/space.hpp"

namespace meshsim {

// `rows` are of `space`. `routing`: a law (routing/routing_scenario.hpp) in place of the plans'
// own, or "". The result is ordered by tokens per chip-hour as refined, those that cannot be run
// last. Does not depend on `threads`. Empty if `stop` says so on the way.
std::vector<RefinedRow> refine(const SweepSpace& space, const std::vector<SweepRow>& rows,
                               const std::string& routing, int threads,
                               const std::function<bool()>& stop);

}  // namespace meshsim
