#include "moe/validation_run.hpp"

#include <algorithm>
#include <array>

#include "moe/gemm.hpp"
#include "moe/rank_gather.hpp"
#include "moe/rank_grid.hpp"
#include "moe/run_weights.hpp"
#include "ranks/in_process_ranks.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

bool compares(const RunConfig& run, const Communicator& world) {
  return run.compare_single_rank && world.size() > 1;
}

// What one rank saw of one layer in one step.
struct PlaceRecord {
  std::int64_t layer, step;
  Ledger ledger;
  CountMatrix slots;  // [P, E]
  double loss;
};

// `check`: on rank 0 the single rank that sees every layer too; nullptr on the others. All ranks
// show it what they have if the run compares.
template <class T>
std::vector<PlaceRecord> run_rank(const RunConfig& run, Communicator& world,
                                  SingleRankCheck<T>* check) {
  const std::int64_t tensor_ranks = run.tensor_ranks;
  Ledger ledger;
  RankGrid grid = make_grid(world, tensor_ranks, ledger);
  const std::int64_t p = grid.experts.place();
  const std::int64_t tokens = run.tokens / grid.experts.size();
  std::vector<MoeWeights<T>> weights;
  for (std::int64_t l = 0; l < run.layers; ++l)
    weights.push_back(
        drawn_weights<T>(run, l, p, grid.experts.size(), grid.tensors.place(), tensor_ranks));
  const auto together = [&](const auto& mine) {
    using Element = std::decay_t<decltype(*std::data(mine))>;
    return gathered_tokens(world, tensor_ranks,
                           std::span<const Element>(std::data(mine), std::size(mine)));
  };
  std::vector<PlaceRecord> record;
  for (std::int64_t step = 0; step < run.steps; ++step) {
    const auto ids = std::span(run.token_ids)
                         .subspan(static_cast<std::size_t>(step * run.tokens + p * tokens),
                                  static_cast<std::size_t>(tokens));
    Tensor<T> x = embedded<T>(run, ids);  // [T, d]
    for (std::int64_t l = 0; l < run.layers; ++l) {
      LayerResult<T> result = run_layer(run, LayerPlace{l, step, p * tokens, ids}, x,
                                        weights[static_cast<std::size_t>(l)], grid, ledger);
      const MoeOutput<T>& out = result.out;
      record.push_back({l, step, std::move(ledger), out.slots, out.load_balance_loss});
      if (compares(run, world)) {
        LayerSeen<T> seen;
        seen.x = together(x.flat());
        seen.y = together(out.y.flat());
        seen.dx = together(result.dx.flat());
        seen.ids = together(out.routed.choice.ids);
        if (check != nullptr) (*check)(l, step, seen);
      }
      add_residual(x, out.y);
    }
  }
  return record;
}

bool distinct(const RunConfig& run, std::int64_t layer) {
  return run.moe.hashes(layer) ? !run.table.repeats_experts() : !run.moe.rule.random_ids;
}

template <class T>
ValidationResult validated(const RunConfig& run, Communicator& world) {
  set_gemm_threads(world.size() > 1 ? 1 : 0);
  std::optional<SingleRankCheck<T>> check;
  if (compares(run, world) && world.rank() == 0) check.emplace(run);
  std::vector<PlaceRecord> places = run_rank<T>(run, world, check ? &*check : nullptr);
  ValidationResult result;
  if (check) result.single_rank = check->result();
  result.routing.model = run.model;
  result.routing.ranks = run.expert_ranks();
  result.routing.experts = run.moe.rule.experts;
  result.routing.top_k = run.moe.rule.top_k;
  result.routing.layers = run.layers;
  result.routing.steps = run.steps;
  result.routing.tokens_per_rank = run.tokens_per_rank();
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    return std::pair(a.layer, a.step) < std::pair(b.layer, b.step);
  });
  for (const auto& place : places) {
    const Ledger all = world_ledger(world, place.ledger);
    const std::array<double, 1> loss{place.loss};
    double sum = 0;
    for (const auto& each : gathered_elements(world, std::span<const double>(loss)))
      if (!each.empty()) sum += each[0];
    if (world.rank() != 0) continue;
    const LayerExchange exchange =
        exchange_of(run.moe, run.expert_ranks(), run.tensor_ranks, run.tokens_per_rank(), sizeof(T),
                    distinct(run, place.layer));
    Traffic predicted = predicted_traffic(exchange, place.slots);
    if (run.backward) predicted.add(predicted_backward_traffic(exchange, place.slots));
    if (!(all.sent == predicted) || !(all.received == predicted))
      result.predicted_equals_moved = false;
    result.moved_bytes += all.sent.bytes();
    result.received_bytes += all.received.bytes();
    result.predicted_bytes += predicted.bytes();
    for (const TrafficRow& row : all.sent.rows())
      result.moved.push_back({place.layer, place.step, row});
    result.routing.add(place.layer, place.step, place.slots);
    if (run.moe.load_balance_loss_weight > 0 && !run.moe.hashes(place.layer))
      result.losses.push_back({place.layer, place.step, sum / world.size()});
  }
  return result;
}

}  // namespace

ValidationResult run_validation(const RunConfig& run, Communicator& world) {
  return run.bfloat16 ? validated<Bf16>(run, world) : validated<float>(run, world);
}

ValidationResult run_validation_in_process(const RunConfig& run) {
  ValidationResult result;
  run_in_process(static_cast<int>(run.ranks), [&](Communicator& world) {
    ValidationResult mine = run_validation(run, world);
    if (world.rank() == 0) result = std::move(mine);
  });
  return result;
}

}  // namespace meshsim
