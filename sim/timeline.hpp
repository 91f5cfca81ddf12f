// When a step's operations ran, and what its time is made of.
#pragma once

#include <string>
#include <vector>

#include "cost_models/price.hpp"
#include "program/step_program.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// A share of the step: why time passed, and in which layers.
//
//   compute .. scatter_add  an operation ran on the TensorCore: one cause for each CoreCause
//   memory_bound            it ran longer than the TensorCore needed: HBM bound it
//   contention              it ran slower than alone: transfers beside it used HBM as well
//   exposed:AXES            nothing ran on the TensorCore while a collective over these axes did
//   exposed:host            the same, for a copy to or from the host
struct TimePart {
  std::string layer_kind;
  Pass pass = Pass::forward;
  std::string cause;
  Picoseconds time;
};

// One run of a leaf. Only the event engine records them.
struct Interval {
  const Leaf* leaf = nullptr;
  Picoseconds start, end;
};

struct Timeline {
  Picoseconds total;
  std::vector<TimePart> parts;  // sorted; their times sum to `total` exactly
  std::vector<Interval> intervals;
};

// Adds up parts with equal keys.
class TimeParts {
 public:
  void add(const TimePart& part, std::int64_t times = 1);
  // `time` of `leaf` as it goes alone, by its causes.
  void add_alone(const Leaf& leaf, const Price& price, Picoseconds time, std::int64_t times = 1);
  std::vector<TimePart> take();

 private:
  std::vector<TimePart> parts_;
};

}  // namespace meshsim
