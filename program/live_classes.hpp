// Numbers of a program that become live and die together, as one: a class.
//
// A layer has many of them, such as the weights that one stage gathers. What lives when is then
// said of some hundreds of classes instead of thousands of numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "program/lifetimes.hpp"

namespace meshsim {

// At `leaf` the numbers of a class become live so many times more often than before it.
struct LiveChange {
  int leaf = 0;
  std::uint32_t of = 0;  // class
  std::int64_t times = 0;
};

struct LiveClasses {
  std::vector<std::vector<NumberId>> members;  // by class
  std::vector<LiveChange> changes;             // ascending by leaf and class, each pair once
};

// Those of the numbers of `program` that are not 0 in `numbers`.
LiveClasses live_classes(const StepProgram& program, const Lifetimes& lifetimes,
                         std::span<const std::int64_t> numbers);

}  // namespace meshsim
