// A stack of MoE layers over several steps on a grid of ranks: real rows move, every byte is
// compared with its prediction, and every layer's results with those of one rank.
//
// With `backward`, every layer's gradients for dy = its output as well: the bytes of both passes
// are compared.
//
//   x_0 = embedding of the token ids;  x_{l+1} = x_l + MoE_l(RMSNorm(x_l));  bias_l += update_l
//
// There is no attention: a token meets others only through the experts' capacity and the bias.
// Weights are drawn from the seed by (layer, tensor, element), so that a rank makes just its own.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "moe/run_config.hpp"
#include "moe/single_rank_check.hpp"
#include "ranks/communicator.hpp"
#include "routing/routing_trace.hpp"

namespace meshsim {

struct LayerLoss {
  std::int64_t layer, step;
  double load_balance_loss;  // mean over the ranks
};

struct ValidationResult {
  RoutingTrace routing;
  std::vector<TracedTraffic> moved;
  std::int64_t moved_bytes = 0, received_bytes = 0, predicted_bytes = 0;
  bool predicted_equals_moved = true;  // in every layer and step, for every pair and collective
  std::vector<LayerLoss> losses;
  std::optional<SingleRankComparison> single_rank;

  bool passed() const {
    return predicted_equals_moved && (!single_rank || !single_rank->judged || single_rank->passed);
  }
};

// Called by every rank; the result is rank 0's, others get an empty one.
ValidationResult run_validation(const RunConfig& run, Communicator& world);

// The same with ranks that are threads of this process.
ValidationResult run_validation_in_process(const RunConfig& run);

}  // namespace meshsim
