// The closed form of one block of a step, again and again with other numbers.
//
// What does not depend on numbers is made once: the activities of a Parallel, and the causes that
// its leaves' time counts for, as numbers of names. Gives the time that closed_form() gives, or
// that simulate_events() gives for so many runs of the block: they split the same times into
// causes, the one those of a run, the other those of all runs.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "program/renumber.hpp"
#include "sim/fluid.hpp"
#include "sim/timeline.hpp"

namespace meshsim {

// Names of causes, by the order in which they were met.
class CauseNames {
 public:
  CauseNames();
  std::size_t number(Name cause);
  Name name(std::size_t number) const { return names_[number]; }
  std::size_t size() const { return names_.size(); }
  const std::vector<std::size_t>& sorted() const { return sorted_; }  // by name

  // Those of core_cause_name() have its numbers; and:
  static constexpr std::size_t contention = core_cause_count + 1, bubble = core_cause_count + 2;

 private:
  std::vector<Name> names_;
  std::vector<std::size_t> sorted_;
};

struct BlockTime {
  Picoseconds total;
  FlopCount model_flops;
  std::vector<std::pair<std::size_t, Picoseconds>> causes;  // by number; none is 0

  void add(std::size_t cause, Picoseconds part);
  void add(const BlockTime& other, std::int64_t times);
};

// What the operations of a block took, before it is split into causes.
struct BlockRun {
  struct Part {
    std::size_t cause = 0;  // SolvableBlock::core: by its price
    Price price;
    LeafTime time;
  };
  Picoseconds total;
  FlopCount model_flops;
  std::vector<Part> parts;

  // Calls give(cause, part) for the shares of `times` runs together.
  template <class Give>
  void split(std::int64_t times, Give&& give) const;
};

// What blocks are solved with, one after the other.
struct BlockSolver {
  FluidEngine engine;
  BlockRun run;  // of the block at hand
  std::vector<FluidLeaf> costs;
};

class SolvableBlock {
 public:
  // Leaves and Parallels of a traced program, one after the other.
  SolvableBlock(std::vector<ProgramNode> nodes, CauseNames& causes);
  SolvableBlock(SolvableBlock&&) = default;  // not to be copied: its parts refer to its nodes
  SolvableBlock& operator=(SolvableBlock&&) = default;

  static constexpr std::size_t core = ~std::size_t{0};  // a leaf's time is split by its price

  // In solver.run.
  void run(const StepWork& work, std::span<const std::int64_t> numbers, const Machine& machine,
           BlockSolver& solver);
  BlockTime solve(const StepWork& work, std::span<const std::int64_t> numbers,
                  const Machine& machine, BlockSolver& solver);

 private:
  // A leaf, and what is asked of it again and again: leaves lie far apart.
  struct Item {
    Leaf* leaf = nullptr;
    std::int64_t times = 1;  // that it runs
    std::size_t cause = 0;
    std::int32_t slot = 0, op = 0;  // WorkSource
    bool on_core = false;
    bool model_flops = false;  // its FLOPs are of the mathematics: no recompute, no optimizer
  };
  struct Part {
    ActivityGraph graph;      // of a Parallel
    std::vector<Item> items;  // one, or the leaves of the graph
    bool alone = true;        // a leaf
  };

  static Price price_of(const Item& item, const StepWork& work,
                        std::span<const std::int64_t> numbers, const Machine& machine,
                        FlopCount& model_flops);

  std::vector<ProgramNode> nodes_;
  std::vector<Part> parts_;
};

template <class Give>
void BlockRun::split(std::int64_t times, Give&& give) const {
  for (const Part& part : parts) {
    if (part.cause == SolvableBlock::core) {
      split_core_time(part.price, part.time.alone * times, give);
    } else {
      give(part.cause, part.time.alone * times);
    }
    give(CauseNames::contention, part.time.contended * times);
  }
}

}  // namespace meshsim
