// The memory peak of all programs of one layout: lifetimes once, sizes per plan.
//
//   live(i) = sum over buffers that live at leaf i of sum_t times_t x number_t
//
// Numbers that always live together are summed once (program/live_classes.hpp). Only a few leaves
// can be the peak of any plan of the layout, its candidates: all others are dominated by a leaf
// that holds at least as much of every number, and more of one that is not 0 or comes first. From
// one candidate to the next few terms change, so that a plan's peak is one pass over the changes.
//
// Gives what memory_peak() gives, to the byte.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "program/live_classes.hpp"

namespace meshsim {

class MemoryPlan {
 public:
  MemoryPlan() = default;
  // `program` must be traced (program/renumber.hpp). Its numbers stand in `numbers`, those of slot
  // s from first[s] on. The plan serves programs whose numbers are 0 where these are.
  MemoryPlan(const StepProgram& program, std::span<const std::int64_t> numbers,
             std::span<const NumberId> first);

  struct Peak {
    Bytes temp;
    std::vector<std::pair<Name, Bytes>> categories;  // sorted by name
  };
  // Of a plan with these numbers at each slot, into `peak`, whose space is used again. What lives
  // at a candidate is found when it is the peak for the first time, and kept.
  void peak(std::span<const std::span<const std::int64_t>> numbers, Peak& peak);

 private:
  struct Place {
    std::uint32_t slot = 0, number = 0;  // of the slot
    bool operator==(const Place&) const = default;
  };
  struct Term {
    Place at;
    std::int64_t times = 0;
  };
  struct ClassTerm {
    std::uint32_t of = 0;  // class
    std::int64_t times = 0;
  };
  // A term of a buffer, while it lives.
  struct LiveTerm {
    int first = 0, last = 0;
    std::uint32_t category = 0;
    Term term;
  };
  // By name; without terms where what lives of it has no bytes.
  using Categories = std::vector<std::pair<Name, std::vector<Term>>>;
  struct Candidate {
    int leaf = 0;
    std::size_t end = 0;  // of its changes since the candidate before, in changes_
    std::optional<Categories> categories;
  };
  static Place place_of(NumberId number, std::span<const NumberId> first);
  void find_candidates(const LiveClasses& classes, const Lifetimes& lifetimes,
                       std::span<const std::int64_t> numbers, std::span<const NumberId> first);
  void find_lives(const StepProgram& program, const Lifetimes& lifetimes,
                  std::span<const NumberId> first);
  Categories categories_at(int leaf) const;

  std::vector<Place> members_;           // of class after class
  std::vector<std::size_t> class_ends_;  // in members_
  std::vector<Candidate> candidates_;    // in program order
  std::vector<ClassTerm> changes_;
  std::vector<std::int64_t> class_bytes_;  // scratch space
  std::vector<Name> names_;                // of the categories, sorted
  std::vector<LiveTerm> live_;             // of buffers that are used, by category, slot and number
  struct Life {
    int first = 0, last = 0;
    std::uint32_t category = 0;
  };
  std::vector<Life> lives_;  // of the same buffers
};

}  // namespace meshsim
