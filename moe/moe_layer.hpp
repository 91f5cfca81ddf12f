// The MoE layer: one structure for every router and every exchange.
//
//   route -> dispatch -> grouped up-projection (whole or in chunks) -> activation
//         -> grouped down-projection -> tensor-parallel reduce -> combine (unpermute, weigh, sum)
//
//   T tokens of this rank, d embedding, E experts, e_l = E/P of them here, H width (H/X here)
//
// The tensor-parallel reduction stands after the down-projection, whose partial sums over H it
// adds; the result carries d/X columns through the exchange and is gathered at the end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moe/expert_exchange.hpp"
#include "moe/experts.hpp"
#include "routing/hash_table.hpp"

namespace meshsim {

// What one layer has learned, as one rank holds it.
template <class T>
struct MoeWeights {
  Tensor<T> gate_kernel;            // [d, E], on every rank
  std::vector<float> bias;          // [E], on every rank; empty without routed_bias
  std::vector<float> expert_scale;  // [E], Gemma4's per_expert_scale; usually empty
  ExpertWeights<T> experts;         // of the local experts and the local slice of H
  ExpertWeights<T> shared;          // [1, ...]: the shared expert, on every rank; empty without one
};

template <class T>
struct MoeOutput {
  Tensor<T> y;                     // [T, d]
  CountMatrix slots;               // [P, E]: slots of every source for every expert
  double load_balance_loss = 0;    // of this rank's tokens; 0 in hash layers
  std::vector<float> bias_update;  // [E]; empty in hash layers and without routed_bias
  RouteOutput routed;              // of this rank's tokens
};

// The choice of this rank's tokens. In a hash layer `table` gives the experts of `token_ids` [T].
template <class T>
RouteOutput route(const Tensor<T>& x, std::span<const std::int64_t> token_ids,
                  const MoeWeights<T>& weights, const MoeConfig& config, const HashTable* table,
                  const RandomDraw& draw = {});

// From routed tokens to their results, [T, d]; adds the slots that it saw to `slots` [P, E].
template <class T>
Tensor<T> moe_route_and_compute(const Tensor<T>& x, const RouteOutput& routed,
                                const ExpertWeights<T>& experts, const MoeConfig& config,
                                RankGrid& ranks, bool distinct_experts, CountMatrix& slots);

// The routed experts of layer `layer_index`: hash routing in the first num_hash_layers layers, the
// rule's router in all others.
template <class T>
class RoutedMoE {
 public:
  // `table` is needed by hash layers only. All references must outlive the layer.
  RoutedMoE(const MoeConfig& config, const MoeWeights<T>& weights, std::int64_t layer_index,
            const HashTable* table = nullptr);

  // x [T, d], token_ids [T] (may be empty outside of hash layers).
  MoeOutput<T> operator()(const Tensor<T>& x, std::span<const std::int64_t> token_ids,
                          RankGrid& ranks, const RandomDraw& draw = {}) const;

 protected:
  const MoeConfig& config_;
  const MoeWeights<T>& weights_;
  std::int64_t layer_index_;
  const HashTable* table_;
  bool distinct_;
};

// The same, plus the shared expert, which every token visits.
template <class T>
class RoutedAndSharedMoE : public RoutedMoE<T> {
 public:
  using RoutedMoE<T>::RoutedMoE;
  MoeOutput<T> operator()(const Tensor<T>& x, std::span<const std::int64_t> token_ids,
                          RankGrid& ranks, const RandomDraw& draw = {}) const;
};

// The shared expert alone: [T, d]. It clamps only with clamp_shared.
template <class T>
Tensor<T> shared_expert(const Tensor<T>& x, const ExpertWeights<T>& shared,
                        const MoeConfig& config);

// A grid of one rank: the layer on one device.
class SingleRank {
 public:
  SingleRank();
  RankGrid& grid() { return grid_; }

 private:
  class Loopback : public Communicator {
   public:
    int rank() const override { return 0; }
    int size() const override { return 1; }
    void all_to_all(const std::byte* send, std::span<const Block> to, std::byte* receive,
                    std::span<const Block> from) override;
  };
  Loopback loopback_;
  Ledger ledger_;
  RankGrid grid_;
};

}  // namespace meshsim
