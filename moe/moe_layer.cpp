#include "moe/moe_layer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "moe/load_balance.hpp"
#include "moe/token_parts.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

void add_counts(CountMatrix& sum, const CountMatrix& counts) {
  if (sum.counts.empty()) sum = CountMatrix(counts.rows, counts.columns);
  for (std::size_t i = 0; i < counts.counts.size(); ++i) sum.counts[i] += counts.counts[i];
}

// The k-th columns slice of bo that a tensor rank holds after its reduce-scatter.
template <class T>
Tensor<T> bias_slice(const Tensor<T>& bo, std::int64_t place, std::int64_t width) {
  Tensor<T> slice({bo.rows(), width});
  for (std::int64_t e = 0; e < bo.rows(); ++e)
    std::copy_n(bo.row(e) + place * width, width, slice.row(e));
  return slice;
}

// One exchange: all tokens, one chunk or one microbatch. [T, d/X]
template <class T>
Tensor<T> compute_part(const Tensor<T>& x, const RouteOutput& routed,
                       const ExpertWeights<T>& experts, const MoeConfig& config, RankGrid& ranks,
                       std::optional<std::int64_t> buffer_rows, CountMatrix& slots) {
  const auto exchange = make_exchange<T>(config, ranks.experts, buffer_rows);
  const std::vector<std::int64_t> groups = exchange->dispatch(x, routed);  // [e_l]
  const std::int64_t chunks =
      config.strategy == Strategy::embedding_chunks ? config.num_moe_emb_chunks : 1;
  Tensor<T> h = grouped_up<T>([&](std::int64_t c) { return exchange->rows(c); }, chunks, groups,
                              experts, config.activation, config.swiglu_limit);  // [R, H/X]
  scale_rows(h, exchange->row_weights());
  Tensor<T> y = grouped_down(h, groups, experts);  // [R, d]
  h = {};
  if (ranks.tensors.size() > 1)
    y = ranks.tensors.reduce_scatter_columns("tensor_reduce_scatter", y);  // [R, d/X]
  if (!experts.bo.empty()) {
    Tensor<T> bo = bias_slice(experts.bo, ranks.tensors.place(), y.width());
    if (!exchange->row_weights().empty())
      throw Error(
          ErrorKind::invalid_input,
          "mlp_bias and batch_split exclude each other: weights precede the down-projection");
    add_group_bias(y, groups, bo);
  }
  add_counts(slots, exchange->slots());
  return exchange->combine(std::move(y));
}

}  // namespace

template <class T>
RouteOutput route(const Tensor<T>& x, std::span<const std::int64_t> token_ids,
                  const MoeWeights<T>& weights, const MoeConfig& config, const HashTable* table,
                  const RandomDraw& draw) {
  RouteOutput routed;
  Tensor<float> z = gate_logits(x, weights.gate_kernel, config.rule);  // [T, E]
  routed.draw = draw;
  routed.expert_scale = weights.expert_scale;
  routed.global_tokens_per_rank = x.rows();
  if (table == nullptr) {
    routed.gate = score_gate(config.rule, std::move(z), weights.bias);
    routed.choice = choose_experts(config.rule, routed.gate, weights.expert_scale, draw);
  } else {
    routed.choice = choose_by_table(config.rule, z, token_ids, *table);
  }
  if constexpr (!std::is_same_v<T, float>)
    for (float& weight : routed.choice.weights.flat()) weight = rounded_to_bf16(weight);
  return routed;
}

template <class T>
Tensor<T> moe_route_and_compute(const Tensor<T>& x, const RouteOutput& routed,
                                const ExpertWeights<T>& experts, const MoeConfig& config,
                                RankGrid& ranks, bool distinct_experts, CountMatrix& slots) {
  std::optional<std::int64_t> buffer_rows;
  if (config.ragged_buffer_factor > 0 || ranks.tensors.size() > 1)
    buffer_rows = expert_buffer_rows(exchange_of(config, ranks.experts.size(), ranks.tensors.size(),
                                                 x.rows(), sizeof(T), distinct_experts));
  const auto whole = [&](const Tensor<T>& all) {
    const auto parts = parts_of(config, all.rows());
    if (parts.empty()) return compute_part(all, routed, experts, config, ranks, buffer_rows, slots);
    Tensor<T> y({all.rows(), all.width() / ranks.tensors.size()});
    for (const std::vector<std::int64_t>& tokens : parts) {
      const Tensor<T> part_x = chosen_rows(all, tokens);
      const RouteOutput part = chosen_tokens(routed, config.rule.top_k, tokens);
      const Tensor<T> part_y =
          compute_part(part_x, part, experts, config, ranks, buffer_rows, slots);
      put_rows<T>(part_y, tokens, y);
    }
    return y;
  };
  Tensor<T> y;  // [T, d/X]
  if (routed.choice.row_scale.empty()) {
    y = whole(x);
  } else {  // Llama4: sigmoid(z) x goes to the experts
    Tensor<T> scaled = x;
    scale_rows(scaled, routed.choice.row_scale);
    y = whole(scaled);
  }
  return ranks.tensors.size() > 1 ? ranks.tensors.all_gather_columns("tensor_all_gather", y)
                                  : std::move(y);
}

template <class T>
RoutedMoE<T>::RoutedMoE(const MoeConfig& config, const MoeWeights<T>& weights,
                        std::int64_t layer_index, const HashTable* table)
    : config_(config),
      weights_(weights),
      layer_index_(layer_index),
      table_(config.hashes(layer_index) ? table : nullptr),
      distinct_(table_ == nullptr ? !config.rule.random_ids : !table_->repeats_experts()) {
  if (config.hashes(layer_index) && table == nullptr)
    throw Error(ErrorKind::invalid_input,
                fmt::format("layer {} is a hash layer (num_hash_layers={}) and needs a table",
                            layer_index, config.num_hash_layers));
}

template <class T>
MoeOutput<T> RoutedMoE<T>::operator()(const Tensor<T>& x, std::span<const std::int64_t> token_ids,
                                      RankGrid& ranks, const RandomDraw& draw) const {
  MoeOutput<T> out;
  out.routed = route(x, token_ids, weights_, config_, table_, draw);
  out.y =
      moe_route_and_compute(x, out.routed, weights_.experts, config_, ranks, distinct_, out.slots);
  if (table_ != nullptr) return out;  // hash layers are not balanced

  const bool chunked = config_.strategy == Strategy::token_chunks;
  const std::int64_t chunks = chunked ? config_.num_moe_token_chunks : 1;
  if (config_.load_balance_loss_weight > 0)
    out.load_balance_loss =
        load_balance_loss(out.routed.gate.biased, out.routed.choice.ids, config_.sequence,
                          config_.rule.top_k, config_.load_balance_loss_weight, chunks);
  if (!weights_.bias.empty()) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(config_.rule.experts));
    for (std::int64_t e = 0; e < config_.rule.experts; ++e)
      counts[static_cast<std::size_t>(e)] = config_.per_device_statistics
                                                ? out.slots.at(ranks.experts.place(), e)
                                                : out.slots.column_sum(e);
    out.bias_update = bias_update(counts, config_.routed_bias_update_rate);
  }
  return out;
}

template <class T>
Tensor<T> shared_expert(const Tensor<T>& x, const ExpertWeights<T>& shared,
                        const MoeConfig& config) {
  const std::vector<std::int64_t> one_group{x.rows()};
  const float limit = config.clamp_shared ? config.swiglu_limit : 0.0F;
  const Tensor<T> h = grouped_up<T>([&](std::int64_t) { return x; }, 1, one_group, shared,
                                    config.activation, limit);  // [T, H_s]
  return grouped_down(h, one_group, shared);                    // [T, d]
}

template <class T>
MoeOutput<T> RoutedAndSharedMoE<T>::operator()(const Tensor<T>& x,
                                               std::span<const std::int64_t> token_ids,
                                               RankGrid& ranks, const RandomDraw& draw) const {
  MoeOutput<T> out = RoutedMoE<T>::operator()(x, token_ids, ranks, draw);
  if (this->weights_.shared.w0.empty()) return out;
  const Tensor<T> shared = shared_expert(x, this->weights_.shared, this->config_);
  for (std::int64_t i = 0; i < out.y.size(); ++i)
    out.y.data()[i] = from_float<T>(to_float(out.y.data()[i]) + to_float(shared.data()[i]));
  return out;
}

void SingleRank::Loopback::all_to_all(const std::byte* send, std::span<const Block> to,
                                      std::byte* receive, std::span<const Block> from) {
  if (to[0].size > 0)
    std::memcpy(receive + from[0].offset, send + to[0].offset,
                static_cast<std::size_t>(to[0].size));
}

SingleRank::SingleRank()
    : grid_{Collectives(loopback_, {0}, ledger_), Collectives(loopback_, {0}, ledger_)} {}

#define MESHSIM_MOE_LAYER(T)                                                                     \
  template RouteOutput route(const Tensor<T>&, std::span<const std::int64_t>,                    \
                             const MoeWeights<T>&, const MoeConfig&, const HashTable*,           \
                             const RandomDraw&);                                                 \
  template Tensor<T> moe_route_and_compute(const Tensor<T>&, const RouteOutput&,                 \
                                           const ExpertWeights<T>&, const MoeConfig&, RankGrid&, \
                                           bool, CountMatrix&);                                  \
  template class RoutedMoE<T>;                                                                   \
  template class RoutedAndSharedMoE<T>;                                                          \
  template Tensor<T> shared_expert(const Tensor<T>&, const ExpertWeights<T>&, const MoeConfig&)
MESHSIM_MOE_LAYER(float);
MESHSIM_MOE_LAYER(Bf16);

}  // namespace meshsim
