// What all ranks hold, brought together on rank 0 to be looked at: not traffic of a layer, and not
// counted as such.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "moe/collectives.hpp"
#include "ranks/communicator.hpp"

namespace meshsim {

// Everybody's bytes on rank 0, in the order of the ranks; empty elsewhere.
std::vector<std::vector<std::byte>> gathered_bytes(Communicator& world,
                                                   std::span<const std::byte> mine);

template <class Element>
std::vector<std::vector<Element>> gathered_elements(Communicator& world,
                                                    std::span<const Element> mine) {
  std::vector<std::vector<Element>> result;
  for (const auto& bytes : gathered_bytes(world, std::as_bytes(mine))) {
    result.emplace_back(bytes.size() / sizeof(Element));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(result.back())).begin());
  }
  return result;
}

// The same one after another, of the first of each group of `tensor_ranks` ranks: the others of a
// group hold the same tokens.
template <class Element>
std::vector<Element> gathered_tokens(Communicator& world, std::int64_t tensor_ranks,
                                     std::span<const Element> mine) {
  const bool first = world.rank() % tensor_ranks == 0;
  std::vector<Element> all;
  for (const auto& each : gathered_elements(world, first ? mine : mine.first(0)))
    all.insert(all.end(), each.begin(), each.end());
  return all;
}

// The ledgers of all ranks, summed on rank 0.
Ledger world_ledger(Communicator& world, const Ledger& mine);

}  // namespace meshsim
