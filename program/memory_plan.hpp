// The memory peak of all programs of one layout: lifetimes once, sizes per plan.
//
//   live(i) = sum over buffers that live at leaf i of sum_t times_t x number_t
//
// Only a few leaves can be the peak of any plan of the layout, its candidates: all others are
// dominated by a leaf that holds at least as much of every number, and more of one that is not 0 or
// comes first. What a template's numbers add to the candidates is its share; a plan's peak is the
// largest sum of shares.
//
// Gives what memory_peak() gives, to the byte.
#pragma once

#include <compare>
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
  // `program` must be traced (program/renumber.hpp). Its numbers stand in `numbers`, those of slot
  // s from first[s] on. The plan serves programs whose numbers are 0 where these are.
  MemoryPlan(const StepProgram& program, std::span<const std::int64_t> numbers,
             std::span<const NumberId> first);

  // Bytes per candidate.
  using Share = std::vector<std::int64_t>;
  Share share(std::size_t slot, std::span<const std::int64_t> numbers) const;

  // What stands at one slot: its numbers, and their share.
  struct Source {
    std::span<const std::int64_t> numbers;
    const Share* share = nullptr;
  };
  struct Peak {
    Bytes temp;
    std::vector<std::pair<std::string_view, Bytes>> categories;  // sorted by name
  };
  // Of all slots, into `peak`, whose space is used again.
  void peak(std::span<const Source> sources, Peak& peak) const;

 private:
  struct Term {
    std::uint32_t slot, number;  // of the slot
    std::int64_t times;
    auto operator<=>(const Term&) const = default;
  };
  struct Candidate {
    // Ascending by category; without terms where what lives of it has no bytes.
    std::vector<std::pair<std::string_view, std::vector<Term>>> categories;
    std::vector<std::vector<Term>> changes;  // per slot, since the candidate before
  };
  std::vector<Candidate> candidates_;  // in program order
};

}  // namespace meshsim
