// What the ranks of a sweep say to each other, as bytes.
//
// All ranks run one program on machines of one kind: numbers travel as they lie in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "studies/sweep/judged_block.hpp"
#include "studies/sweep/store.hpp"

namespace meshsim {

using Message = std::vector<std::byte>;

// To rank 0: a rank wants plans; what it found of some of them, for the store; the rows of a
// stretch; that it judges no more. From rank 0: plans to judge; that all is to stop.
enum class Word : std::uint8_t { want, found, block, end, plans, stop };
Word word_of(const Message& message);  // throws Error(internal) for an empty one, as all readers

Message plain(Word word);
Message plans_message(const PlanRange& range, bool store);
Message found_message(const std::vector<StoredPlan>& plans);
Message block_message(const JudgedBlock& block);
Message end_message(bool interrupted);

struct PlansOrder {
  PlanRange range;
  bool store = false;  // whether rank 0 keeps what is found
};
PlansOrder read_plans(const Message& message);
std::vector<StoredPlan> read_found(const Message& message);
JudgedBlock read_block(const Message& message);
bool read_end(const Message& message);  // whether it was interrupted

}  // namespace meshsim
