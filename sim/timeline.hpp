// When a step's operations ran, and what its time is made of.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cost_models/price.hpp"
#include "program/step_program.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// A share of the step: why time passed, and in which layers.
//
//   compute .. scatter_add  an operation ran on the TensorCore: one cause for each CoreCause
//   memory_bound            it ran longer than the TensorCore needed: HBM bound it
//   imbalance               of either: waiting for the rank whose experts have most rows, or for
//                           its links
//   contention              it ran slower than alone: transfers beside it used HBM as well
//   exposed:AXES            nothing ran on the TensorCore while a collective over these axes did
//   exposed:host            the same, for a copy to or from the host
struct TimePart {
  std::string layer_kind;
  Pass pass = Pass::forward;
  std::string cause;
  Picoseconds time;
};

// One run of a leaf. Only simulate_unrolled() (sim/event_engine.hpp) records them.
struct Interval {
  const Leaf* leaf = nullptr;
  Picoseconds start, end;
};

struct Timeline {
  Picoseconds total;
  std::vector<TimePart> parts;  // sorted; their times sum to `total` exactly
  std::vector<Interval> intervals;
  // Of the parts with cause "imbalance": the time of each exchange of StepProgram::loads.
  std::vector<Picoseconds> imbalance;
  void add_imbalance(std::int32_t exchange, Picoseconds time);  // exchange -1: none
};

// Nothing runs on the TensorCore while this transfer does: "exposed:" and over what.
std::string transfer_cause(const Leaf& leaf);

// Calls give(cause, part) for the shares of `time` of work on the TensorCore that goes alone:
// causes as CoreCause, and core_cause_count for memory_bound. They sum to `time`.
template <class Give>
void split_core_time(const Price& price, Picoseconds time, Give&& give) {
  const auto duration = static_cast<double>((price.duration - price.imbalance).value());
  double passed = 0;
  Picoseconds given;
  for (std::size_t i = 0; i < core_cause_count && duration > 0; ++i) {
    passed += price.core[i];
    const double share = std::min(1.0, passed / duration);
    const Picoseconds until(std::llround(share * static_cast<double>(time.value())));
    give(i, until - given);
    given = until;
  }
  // Also the picosecond that rounding the duration may leave.
  give(price.bound == Bound::memory ? std::size_t{core_cause_count} : std::size_t{ideal},
       time - given);
}
std::string_view core_cause_name(std::size_t cause);

// Adds up parts with equal keys.
class TimeParts {
 public:
  void add(const TimePart& part, std::int64_t times = 1);
  void add_contention(const Leaf& leaf, Picoseconds time, std::int64_t times = 1);
  // `time` of `leaf` as it goes alone, by its causes. Returns how much of it is imbalance.
  Picoseconds add_alone(const Leaf& leaf, const Price& price, Picoseconds time,
                        std::int64_t times = 1);
  std::vector<TimePart> take();

 private:
  // Of the leaves of one kind of layer and pass. Causes of the TensorCore are counted by number,
  // those of transfers by name.
  struct Row {
    std::string layer_kind;
    Pass pass = Pass::forward;
    std::array<Picoseconds, core_cause_count + 1> core{};
    std::vector<std::pair<std::string, Picoseconds>> others;
    void add(std::string_view cause, Picoseconds time);
  };
  Row& row(const std::string& layer_kind, Pass pass);

  std::vector<Row> rows_;
  std::size_t latest_ = 0;  // of the rows: that of the leaf before
};

}  // namespace meshsim
