// The memory peak of all programs of one layout: lifetimes once, sizes per plan.
//
//   live(i) = sum over buffers that live at leaf i of sum_t times_t x number_t
//
// Gives what memory_peak() gives, to the byte.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "program/step_program.hpp"

namespace meshsim {

class MemoryPlan {
 public:
  MemoryPlan() = default;
  // `program` must be traced (program/renumber.hpp).
  explicit MemoryPlan(const StepProgram& program);

  struct Peak {
    Bytes temp;
    std::vector<std::pair<std::string_view, Bytes>> categories;  // sorted by name
  };
  // Into `peak`, whose space is used again.
  void peak(std::span<const std::int64_t> numbers, Peak& peak) const;

 private:
  struct Use {
    int first, last;  // of the leaves
    std::uint32_t category;
    std::uint32_t begin, end;  // of its terms
  };

  std::vector<std::string_view> categories_;  // sorted
  std::vector<Use> uses_;                     // of buffers that are used
  std::vector<AmountTerm> terms_;
  // What is added and taken away at each leaf, summed by number: from begin_[i] to begin_[i + 1].
  std::vector<std::uint32_t> begin_;
  std::vector<AmountTerm> changes_;
};

}  // namespace meshsim
