#include "moe/rank_grid.hpp"

#include <fmt/format.h>

#include "units/error.hpp"

namespace meshsim {

RankGrid make_grid(Communicator& world, std::int64_t tensor_ranks, Ledger& ledger) {
  const auto tensors = static_cast<int>(tensor_ranks);
  if (tensors < 1 || world.size() % tensors != 0)
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{},
                           "tensor_ranks",
                           fmt::format("{} must divide the {} ranks", tensors, world.size()),
                           {}});
  const int p = world.rank() / tensors, x = world.rank() % tensors;
  std::vector<int> same_x, same_p;
  for (int i = 0; i < world.size() / tensors; ++i) same_x.push_back(i * tensors + x);
  for (int i = 0; i < tensors; ++i) same_p.push_back(p * tensors + i);
  return {Collectives(world, same_x, ledger), Collectives(world, same_p, ledger)};
}

}  // namespace meshsim
