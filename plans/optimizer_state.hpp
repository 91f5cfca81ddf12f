// What each optimizer keeps beside a trainable parameter (MaxText, August 2026).
#pragma once

#include <vector>

#include "model_specs/inventory.hpp"
#include "plans/plan.hpp"

namespace meshsim {

struct OptimizerSlot {
  const char* category;  // "optimizer_mu", "optimizer_nu", "optimizer_momentum"
  DType dtype;
};

//   adamw     mu in mu_dtype, nu in the weights' dtype
//   adam_pax  mu and nu in the weights' dtype
//   sgd       nothing
//   muon      one momentum in mu_dtype for matrices; Adam's mu and nu for the rest
// `weights` is the dtype of the parameter itself.
std::vector<OptimizerSlot> optimizer_slots(const Training& training, const Tensor& tensor,
                                           DType weights);

// int32 scalars: step counts and schedule counts of the optimizer.
int optimizer_counters(Optimizer optimizer);

}  // namespace meshsim
