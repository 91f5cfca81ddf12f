// The world of ranks as a grid: P expert ranks x X tensor ranks, rank (p, x) has number p X + x.
#pragma once

#include "moe/expert_exchange.hpp"

namespace meshsim {

// Throws Error(invalid_input) if X does not divide the number of ranks. `world` and `ledger` must
// outlive the grid.
RankGrid make_grid(Communicator& world, std::int64_t tensor_ranks, Ledger& ledger);

}  // namespace meshsim
