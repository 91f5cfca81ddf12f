// When a step's operations ran, and what its time is made of.
#pragma once

#include <string>
#include <vector>

#include "program/step_program.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// A share of the step: why time passed, and in which layers.
//
//   compute, memory_bound   an operation ran on the TensorCore, bound by the MXU or by HBM
//   contention              it ran slower than alone: transfers beside it used HBM as well
//   exposed:AXES            nothing ran on the TensorCore while a collective over these mesh axes
//   did
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
  void add(const Leaf& leaf, const std::string& cause, Picoseconds time);
  std::vector<TimePart> take();

 private:
  std::vector<TimePart> parts_;
};

// "exposed:fsdp+expert" for a collective, "exposed:host" for a copy to or from the host.
std::string exposed_cause(const Leaf& transfer);

}  // namespace meshsim
