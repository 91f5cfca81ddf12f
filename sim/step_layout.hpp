// A program's layout: what all plans share whose templates have the same forms.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program/memory_plan.hpp"
#include "program/renumber.hpp"
#include "sim/key.hpp"

namespace meshsim {

// A Parallel, or leaves in a row: what the closed form solves on its own.
struct Block {
  std::vector<const ProgramNode*> nodes;
  std::int64_t times = 1;  // fixed by the layout
  bool per_microbatch = false, per_tile = false;
};

// The blocks of a program, in order; they refer to it. T(program) = sum of count x T(block).
std::vector<Block> blocks_of(const ProgramNode& root);

// Where the numbers of each template stand in the row: those of slot s begin at first[s]; those of
// the state at first.back().
struct NumberRow {
  std::vector<NumberId> first;
  std::size_t slot_of(NumberId number) const;
};

// The slots that a block's sizes come from, ascending.
std::vector<std::size_t> slots_of(const Block& block, const NumberRow& row);

// All of a block but its numbers.
void add_block(Key& key, const Block& block);

}  // namespace meshsim
