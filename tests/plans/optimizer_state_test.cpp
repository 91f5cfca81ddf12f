#include "plans/optimizer_state.hpp"

#include <catch2/catch.hpp>

using namespace meshsim;

namespace {

using Slots = std::vector<std::pair<std::string, DType>>;

Slots slots(Optimizer optimizer, TensorRole role, DType weights, DType first) {
  Training training;
  training.optimizer = optimizer;
  training.weights = weights;
  training.first_moment = first;
  const Tensor tensor{"t", {4}, {""}, role};
  Slots found;
  for (const OptimizerSlot& slot : optimizer_slots(training, tensor, weights)) {
    found.emplace_back(slot.category, slot.dtype);
  }
  return found;
}

constexpr DType f32 = DType::float32;
constexpr DType bf16 = DType::bfloat16;

}  // namespace

TEST_CASE("adamw keeps mu in mu_dtype and nu in the weights' dtype", "[plans][optimizer]") {
  CHECK(slots(Optimizer::adamw, TensorRole::kernel, f32, bf16) ==
        Slots{{"optimizer_mu", bf16}, {"optimizer_nu", f32}});
  CHECK(slots(Optimizer::adamw, TensorRole::norm, bf16, bf16) ==
        Slots{{"optimizer_mu", bf16}, {"optimizer_nu", bf16}});
  CHECK(optimizer_counters(Optimizer::adamw) == 2);
}

TEST_CASE("adam_pax keeps both in the weights' dtype", "[plans][optimizer]") {
  CHECK(slots(Optimizer::adam_pax, TensorRole::kernel, f32, bf16) ==
        Slots{{"optimizer_mu", f32}, {"optimizer_nu", f32}});
  CHECK(optimizer_counters(Optimizer::adam_pax) == 1);
}

TEST_CASE("sgd keeps nothing", "[plans][optimizer]") {
  CHECK(slots(Optimizer::sgd, TensorRole::kernel, f32, f32).empty());
  CHECK(optimizer_counters(Optimizer::sgd) == 0);
}

TEST_CASE("muon keeps one momentum for matrices and Adam's two for the rest",
          "[plans][optimizer]") {
  for (const TensorRole matrix : {TensorRole::kernel, TensorRole::expert_kernel}) {
    CHECK(slots(Optimizer::muon, matrix, f32, bf16) == Slots{{"optimizer_momentum", bf16}});
  }
  for (const TensorRole rest : {TensorRole::embedding, TensorRole::norm, TensorRole::bias}) {
    CHECK(slots(Optimizer::muon, rest, f32, bf16) ==
          Slots{{"optimizer_mu", bf16}, {"optimizer_nu", f32}});
  }
}

TEST_CASE("what is not trained has no optimizer state", "[plans][optimizer]") {
  Training training;
  Tensor table{"tid2eid", {4, 6}, {"", ""}, TensorRole::table};
  table.trainable = false;
  for (const Optimizer optimizer :
       {Optimizer::adamw, Optimizer::adam_pax, Optimizer::sgd, Optimizer::muon}) {
    training.optimizer = optimizer;
    CHECK(optimizer_slots(training, table, f32).empty());
  }
}
