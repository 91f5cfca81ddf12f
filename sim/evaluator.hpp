// Plans to answers, many of them.
//
// An Evaluator is for one thread. It gives for every plan what answer_of(evaluate(plan, fidelity))
// gives, to the bit, and throws what that throws.
#pragma once

#include "sim/answer.hpp"

namespace meshsim {

class Evaluator {
 public:
  explicit Evaluator(Fidelity fidelity = Fidelity::closed_form) : fidelity_(fidelity) {}

  Answer evaluate(const Plan& plan);

 private:
  Fidelity fidelity_;
};

}  // namespace meshsim
