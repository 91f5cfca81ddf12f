// When buffers live, in program order: every leaf has an index, every buffer a range of indices.
//
// Ranges depend on who uses what, never on sizes. A program that must save memory frees a buffer
// after its last use; one that has room keeps its spares (Leaf::spares) as well.
#pragma once

#include <limits>
#include <vector>

#include "program/step_program.hpp"

namespace meshsim {

enum class Spares { freed, kept };

struct LifeRange {
  int first = std::numeric_limits<int>::max();
  int last = -1;

  void extend(int index) {
    first = index < first ? index : first;
    last = index > last ? index : last;
  }
  bool used() const { return last >= 0; }
  bool contains(int index) const { return used() && first <= index && index <= last; }
};

class Lifetimes {
 public:
  // `program` must outlive it.
  explicit Lifetimes(const StepProgram& program, Spares spares = Spares::freed);

  const std::vector<LifeRange>& ranges() const { return ranges_; }  // by buffer
  const std::vector<const Leaf*>& leaves() const { return leaves_; }

 private:
  struct Span {
    int begin, end;
    bool whole;  // Parallel branches beside the main one: their buffers live through all of it
    std::vector<BufferId> uses;
  };

  void use(BufferId id, int index);
  void visit(const ProgramNode& node);
  std::vector<BufferId> uses_since(std::size_t first) const;  // of uses_, each once

  Spares spares_;
  std::vector<LifeRange> ranges_;
  std::vector<const Leaf*> leaves_;
  std::vector<Span> spans_;
  std::vector<BufferId> uses_;  // in program order
};

}  // namespace meshsim
