// A command that several ranks of a launcher (mpirun) run together.
#pragma once

#include <functional>

#include "ranks/communicator.hpp"

namespace meshsim {

// `prepare` reads what the command was given and returns what runs it; it gets nullptr where no
// launcher has started more than one rank. On several ranks all prepare before any runs: the first
// with a fault says it, and all end alike; a rank that fails later ends them all.
int run_launched(const std::function<std::function<int()>(Ranks*)>& prepare);

}  // namespace meshsim
