// Ranks as threads of this process.
#pragma once

#include <functional>

#include "ranks/communicator.hpp"

namespace meshsim {

// Runs `rank_main` on `ranks` threads, each with its own communicator, and waits for all of them.
// When one throws, the others are woken in their next exchange and end too; the first failure is
// thrown on.
void run_in_process(int ranks, const std::function<void(Ranks&)>& rank_main);

}  // namespace meshsim
