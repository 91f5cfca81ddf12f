// Plans to answers, many of them.
//
// An Evaluator is for one thread. Unless it prunes, it gives for every plan what
// answer_of(evaluate(plan, fidelity)) gives, to the bit, and throws what that throws; but of
// neighbouring plans it computes once what they share:
//
//   state       of one mesh, model, optimizer        templates   of one mesh, model, batch, ...
//   layout      of templates of the same form: the lifetimes of buffers, and the blocks of the step
//   block       a Parallel, or operations in a row, with one set of numbers: its time
//
// Each part is kept under all inputs that it depends on. Settings are among these when the part's
// computation was seen to read them (sim/settings_read.hpp), everything else of a plan by name.
#pragma once

#include <memory>

#include "sim/answer.hpp"

namespace meshsim {

// Memory has a lower bound that costs next to nothing, the state and the batch. A plan for which it
// exceeds the HBM can be left there: does_not_fit, with that bound for its memory and no time.
enum class Pruning { none, by_arguments };

class Evaluator {
 public:
  explicit Evaluator(Fidelity fidelity = Fidelity::closed_form, Pruning pruning = Pruning::none);
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;
  Evaluator& operator=(Evaluator&&) noexcept;

  Answer evaluate(const Plan& plan);

 private:
  class Memory;
  Fidelity fidelity_;
  Pruning pruning_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace meshsim
