#include "plans/optimizer_state.hpp"

namespace meshsim {
namespace {

// Muon orthogonalises matrices; embeddings, the head, norms and biases stay with Adam.
bool is_muon_matrix(const Tensor& tensor) {
  return tensor.role == TensorRole::kernel || tensor.role == TensorRole::expert_kernel;
}

}  // namespace

std::vector<OptimizerSlot> optimizer_slots(const Training& training, const Tensor& tensor,
                                           DType weights) {
  if (!tensor.trainable) return {};
  const DType first = training.first_moment;
  switch (training.optimizer) {
    case Optimizer::adamw: return {{"optimizer_mu", first}, {"optimizer_nu", weights}};
    case Optimizer::adam_pax: return {{"optimizer_mu", weights}, {"optimizer_nu", weights}};
    case Optimizer::sgd: return {};
    case Optimizer::muon:
      if (is_muon_matrix(tensor)) return {{"optimizer_momentum", first}};
      return {{"optimizer_mu", first}, {"optimizer_nu", weights}};
  }
  return {};
}

int optimizer_counters(Optimizer optimizer) {
  switch (optimizer) {
    case Optimizer::adamw: return 2;  // Adam's and the schedule's
    case Optimizer::adam_pax: return 1;
    case Optimizer::sgd: return 0;
    case Optimizer::muon: return 4;  // Adam's two, Muon's, and its schedule's
  }
  return 0;
}

}  // namespace meshsim
