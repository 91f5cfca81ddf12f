// A program's layout: what all plans share whose templates have the same forms.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

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
// the state, the last slot, at first.back().
struct NumberRow {
  std::vector<NumberId> first;
  std::size_t slot_of(NumberId number) const;
};

// Where the sizes of a block come from.
struct BlockInputs {
  struct Number {
    std::size_t slot = 0, place = 0;  // the place-th number of the slot
    auto operator<=>(const Number&) const = default;
  };
  std::vector<std::size_t> slots;  // whose operations it runs, ascending
  std::vector<Number> numbers;     // of other slots, ascending
  bool reads(std::size_t slot) const;
};
BlockInputs united(const BlockInputs& a, const BlockInputs& b);
BlockInputs inputs_of(const Block& block, const NumberRow& row);

// All of a block but its numbers.
void add_block(Key& key, const Block& block);

}  // namespace meshsim
