// A step solved body by body.
//
//   T(Leaf) = its price     T(Sequence) = sum of T(children)     T(Repeat) = n T(body)
//   T(Parallel) = the fluid solution of that Parallel alone (sim/fluid.hpp)
//
// This is what running the whole step from event to event takes, to the picosecond: a Parallel is
// waited for at its end, so that nothing outlives the body that it began in, and every body starts
// from the same state, an idle device, however often it has run. A body whose routing differs from
// repeat to repeat has other prices in each, and is solved for each.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cost_models/routed_prices.hpp"
#include "sim/fluid.hpp"

namespace meshsim {

class StepWalk {
 public:
  virtual ~StepWalk() = default;

 protected:
  // A Parallel has at most `cap` operations.
  StepWalk(RoutedPrices& prices, std::int64_t cap) : prices_(prices), cap_(cap) {}

  // The time of `root`, whose exchanges are `offset` further than they say.
  Picoseconds walk(const ProgramNode& root, std::int32_t offset = 0);

  // A leaf has run so many times, each time for `time`.
  struct Spent {
    const Leaf& leaf;
    std::size_t number;  // how many leaves of the tree come before it
    bool all;            // so often does it run in all; else it is met again
    std::int32_t exchange;
    const Price& price;
    LeafTime time;
    std::int64_t times;
  };
  virtual void spent(const Spent& one) = 0;

 private:
  struct Solution {
    ActivityGraph graph;           // of a Parallel
    bool follows_routing = false;  // then it is solved anew for every offset
    std::vector<Price> prices;
    std::vector<LeafTime> times;
    Picoseconds total;
  };
  // How many leaves and Parallels of the tree come before.
  struct Place {
    std::size_t leaf = 0, parallel = 0;
  };

  Picoseconds add(const ProgramNode& node, std::int64_t times, std::int32_t offset, Place& place);
  Picoseconds add_leaf(const Leaf& leaf, std::int64_t times, std::int32_t offset, Place& place);
  Picoseconds add_strides(const ProgramNode& node, std::int64_t times, std::int32_t offset,
                          Place& place);
  Picoseconds add_parallel(const ProgramNode& node, std::int64_t times, std::int32_t offset,
                           Place& place);
  void solve(std::int32_t offset, bool first, Solution& solution);

  RoutedPrices& prices_;
  std::int64_t cap_;
  Unrolling unrolling_;
  FluidEngine engine_;
  std::vector<FluidLeaf> costs_;
  Solution latest_;
  // Of what is met again, in repeats whose exchanges advance; by the number of the leaf or
  // Parallel.
  int strides_ = 0;  // such repeats around the node at hand
  std::vector<std::unique_ptr<Price>> leaf_prices_;
  std::vector<std::unique_ptr<Solution>> solutions_;
};

}  // namespace meshsim
