// Whether a validation run can fit into this machine.
#pragma once

#include "moe/run_config.hpp"

namespace meshsim {

// Bytes that the ranks of this process hold at most: the weights of their experts, the tokens, what
// a layer makes of them, and what is remembered of every layer and step. `launched_ranks`: 0 if all
// ranks are threads of this process; else one is here, and it compares if `compare_single_rank`.
double run_memory(const RunConfig& run, std::int64_t launched_ranks);

// Throws Error(resource_limit) if that is more than the memory of this machine: the system would
// end the process, and not with a message.
void check_run_memory(const RunConfig& run, std::int64_t launched_ranks);

}  // namespace meshsim
