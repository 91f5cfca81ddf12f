// The loads that a routing scenario gives: for every MoE layer of one step, the slots of each
// source rank for each expert of one expert-parallel group.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "routing/drawn_slots.hpp"
#include "routing/routing_scenario.hpp"

namespace meshsim {

// What is routed.
struct RoutedLayers {
  std::int64_t ranks = 1;  // P
  std::int64_t experts = 1, top_k = 1, vocab = 1;
  std::int64_t tokens_per_rank = 0;  // T, of one draw
  std::vector<bool> hashed;          // per MoE layer, in the order of the model
  std::int64_t draws = 1;            // of every layer in one step: microbatches and token chunks
};

struct RoutingLoads {
  // [P, E] each, draw by draw, in each as RoutedLayers::hashed; every row sums to T k. An empty
  // matrix is a balanced layer: every expert receives T k P / E slots, which need not be a whole
  // number.
  std::vector<CountMatrix> layers;

  bool balanced(std::size_t layer) const { return layers[layer].counts.empty(); }
};

// Token by token up to this many draws of a step, by counts above. A top-k layer draws once per
// token and expert, the hash layers once per token.
inline constexpr std::int64_t most_exact_draws = std::int64_t{1} << 22;
inline constexpr std::int64_t most_exact_tokens = std::int64_t{1} << 20;
DrawMode top_k_draw_mode(const RoutedLayers& layers);
DrawMode hash_draw_mode(const RoutedLayers& layers);

// The draws of one step, one after the other. Those of a layer share its popularities. A trace of
// another number of tokens per rank is scaled: the same shares of T k slots in every draw.
class RoutingDraws {
 public:
  // The scenario must outlive this.
  RoutingDraws(const RoutingScenario& scenario, const RoutedLayers& layers);

  // Per layer [P, E], or empty: a balanced one.
  std::vector<CountMatrix> operator()(std::int64_t draw) const;

 private:
  const RoutingScenario& scenario_;
  RoutedLayers layers_;
  std::optional<TextDraws> hashed_;   // of every layer that a table routes: one table, one text
  std::vector<RouterDraws> routers_;  // of the others, in order
  std::vector<CountMatrix> traced_;   // per layer
};

// All draws of it.
RoutingLoads routing_loads(const RoutingScenario& scenario, const RoutedLayers& layers);

}  // namespace meshsim
