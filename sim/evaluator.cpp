#include "sim/evaluator.hpp"

namespace meshsim {

Answer Evaluator::evaluate(const Plan& plan) {
  return answer_of(meshsim::evaluate(plan, fidelity_));
}

}  // namespace meshsim
