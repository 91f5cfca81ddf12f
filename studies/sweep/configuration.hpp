// What the rows of a sweep depend on: two sweeps with equal configurations have equal rows.
#pragma once

#include <string>

#include "sim/evaluation.hpp"
#include "studies/sweep/space.hpp"
#include "studies/sweep/store.hpp"

namespace meshsim {

// Names: "program", "fidelity", "calibration", "base.KEY" for every key of the resolved base but
// credentials, "axes.NAME" in their order, "where". `program` tells builds of meshsim apart. Throws
// Error as Enumeration does.
StoreConfiguration store_configuration(const SweepSpace& space, Fidelity fidelity,
                                       const std::string& program);

}  // namespace meshsim
