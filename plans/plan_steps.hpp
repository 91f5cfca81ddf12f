// make_plan in two steps, for who makes many plans that differ in little.
//
//   place_plan    machine, mesh, placement, sharding rules: from the configuration alone;
//   afterwards
//                 degrees that were -1 are what is left
//   finish_plan   everything else; on the same plan it may follow again after settings have changed
//                 that place_plan did not read
#pragma once

#include "plans/plan.hpp"

namespace meshsim {

// Requires config and model.
void place_plan(Plan& plan);
void finish_plan(Plan& plan);

}  // namespace meshsim
