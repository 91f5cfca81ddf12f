// Rows travel to the ranks of their experts and back (reference: ragged all-to-all, RA2A).
//
//   X_sorted[n, d] -> a2a -> recv[R, d] -> local permute -> experts
//   y[R, w] -> local unpermute -> a2a -> back[n, w] -> weighted sum -> out[T, w]
#include <numeric>

#include "moe/expert_exchange.hpp"
#include "moe/permute.hpp"
#include "routing/all_to_all.hpp"
#include "routing/local_permute.hpp"

namespace meshsim {
namespace {

template <class T>
class RaggedAllToAll : public ExpertExchange<T> {
 public:
  RaggedAllToAll(const MoeConfig& config, Collectives& ranks,
                 std::optional<std::int64_t> buffer_rows)
      : config_(config), ranks_(ranks), buffer_rows_(buffer_rows) {}

  std::vector<std::int64_t> dispatch(const Tensor<T>& x, const RouteOutput& routed) override {
    const std::int64_t experts = config_.rule.experts, p = ranks_.place();
    const std::int64_t local_experts = experts / ranks_.size();
    routed_ = &routed;
    tokens_ = x.rows();
    const RouteMetadata sorted = sort_slots(routed.choice.ids, experts);
    inverse_ = inverse_of(sorted.order);
    gather_counts(sorted.group_sizes);
    const CountMatrix m = per_shard(slots_, ranks_.size());
    const std::int64_t arriving = m.column_sum(p);
    const std::int64_t room = buffer_rows_.value_or(arriving);
    m_ = m;
    kept_ = config_.ragged_buffer_factor > 0 ? truncated_to(m, room) : m;

    const std::int64_t n = static_cast<std::int64_t>(sorted.order.size()), d = x.width();
    Tensor<T> x_sorted({alone() ? room : n, d});
    fan_out_rows(x, inverse_, config_.rule.top_k, x_sorted);
    if (alone()) {  // what would be sent is already where it belongs
      rows_ = std::move(x_sorted);
      return sorted.group_sizes;
    }
    Tensor<T> received({room, d});  // recv [R, d]
    const AllToAllParameters to = dispatch_parameters(m_, kept_, p);
    ranks_.all_to_all_rows("dispatch", x_sorted, sending(to), received, receiving(to.recv_sizes));
    x_sorted = {};

    local_ = local_permute_received(slots_, p, local_experts, room);
    arrived_ =
        std::accumulate(local_.group_sizes.begin(), local_.group_sizes.end(), std::int64_t{0});
    rows_ = Tensor<T>({room, d});
    gather_rows(received, arrived_order(), 1, rows_);
    return local_.group_sizes;
  }

  Tensor<T> rows(std::int64_t) override { return std::move(rows_); }

  Tensor<T> combine(Tensor<T> y) override {
    const std::int64_t p = ranks_.place(), width = y.width();
    Tensor<T> back;  // [n, w], in the order of X_sorted
    if (alone()) {
      back = std::move(y);
    } else {
      Tensor<T> unsorted(y.shape());  // in the order of arrival
      scatter_rows(y, arrived_order(), unsorted);
      y = {};
      // Places of dropped rows stay 0.
      back = Tensor<T>({static_cast<std::int64_t>(inverse_.size()), width}, from_float<T>(0));
      const AllToAllParameters from = combine_parameters(m_, kept_, p);
      ranks_.all_to_all_rows("combine", unsorted, sending(from), back,
                             blocks(exclusive_prefix_sums(m_.row(p)), from.recv_sizes));
      unsorted = {};
    }
    Tensor<T> out({tokens_, width});
    if (this->keeps_) back_ = back;
    weighted_sum(back, inverse_, routed_->choice.weights.data(), config_.rule.top_k,
                 config_.float32_weight_sum, out);
    return out;
  }

  const CountMatrix& slots() const override { return slots_; }

  Tensor<T> gradients_of_results(const Tensor<T>& dy, const Tensor<T>&) override {
    const std::int64_t k = config_.rule.top_k, d = dy.width(), p = ranks_.place();
    dw_ = Tensor<float>({tokens_, k});
    Tensor<T> dback(back_.shape());  // [n, d], in the order of X_sorted
    for (std::int64_t s = 0; s < dback.rows(); ++s) {
      const std::int64_t row = inverse_[static_cast<std::size_t>(s)];
      const T* const upstream = dy.row(s / k);
      const float weight = routed_->choice.weights.data()[s];
      float product = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        product += to_float(back_.row(row)[c]) * to_float(upstream[c]);
        dback.row(row)[c] = from_float<T>(weight * to_float(upstream[c]));
      }
      dw_.data()[s] = product;
    }
    back_ = {};
    if (alone()) return dback;
    Tensor<T> received({arrived_, d});
    const AllToAllParameters to = dispatch_parameters(m_, kept_, p);
    ranks_.all_to_all_rows("combine_back", dback, sending(to), received, receiving(to.recv_sizes));
    Tensor<T> sorted({arrived_, d});
    gather_rows(received, arrived_order(), 1, sorted);
    return sorted;
  }

  Tensor<T> gradients_of_tokens(Tensor<T> drows) override {
    const std::int64_t d = drows.width(), p = ranks_.place();
    Tensor<T> back;  // [n, d], in the order of X_sorted
    if (alone()) {
      back = std::move(drows);
    } else {
      Tensor<T> unsorted(drows.shape());  // in the order of arrival
      scatter_rows(drows, arrived_order(), unsorted);
      back = Tensor<T>({static_cast<std::int64_t>(inverse_.size()), d});
      const AllToAllParameters from = combine_parameters(m_, kept_, p);
      ranks_.all_to_all_rows("dispatch_back", unsorted, sending(from), back,
                             blocks(exclusive_prefix_sums(m_.row(p)), from.recv_sizes));
    }
    Tensor<T> dx({tokens_, d});
    weighted_sum(back, inverse_, nullptr, config_.rule.top_k, true, dx);
    return dx;
  }

  Tensor<float> gradients_of_scores(const Tensor<float>& pre) override {
    return gradient_of_scores(config_.rule, pre, routed_->choice, dw_);
  }

 private:
  bool alone() const { return ranks_.size() == 1 && config_.ragged_buffer_factor <= 0; }

  std::span<const Slot> arrived_order() const {
    return std::span(local_.order).first(static_cast<std::size_t>(arrived_));
  }

  // Everybody's slots per expert, [P, E]. MaxText gathers the P sums per shard first, because the
  // dispatch needs no more, and the E counts later; both gathers are made here, and counted.
  void gather_counts(const std::vector<std::int64_t>& group_sizes) {
    CountMatrix mine(1, config_.rule.experts);
    mine.counts = group_sizes;
    const CountMatrix per_rank = per_shard(mine, ranks_.size());
    const auto narrow = [](const std::vector<std::int64_t>& counts) {
      return std::vector<std::int32_t>(counts.begin(), counts.end());
    };
    const std::vector<std::int32_t> shards = narrow(per_rank.counts), all = narrow(group_sizes);
    (void)ranks_.all_gather("all_gather_shard_counts", std::span<const std::int32_t>(shards));
    const auto gathered =
        ranks_.all_gather("all_gather_expert_counts", std::span<const std::int32_t>(all));
    slots_ = CountMatrix(ranks_.size(), config_.rule.experts);
    slots_.counts.assign(gathered.begin(), gathered.end());
  }

  static std::vector<RowBlock> blocks(std::span<const std::int64_t> offsets,
                                      std::span<const std::int64_t> counts) {
    std::vector<RowBlock> result;
    for (std::size_t i = 0; i < counts.size(); ++i) result.push_back({offsets[i], counts[i]});
    return result;
  }
  static std::vector<RowBlock> sending(const AllToAllParameters& parameters) {
    return blocks(parameters.input_offsets, parameters.send_sizes);
  }
  // Blocks lie by source, without holes.
  static std::vector<RowBlock> receiving(const std::vector<std::int64_t>& counts) {
    return blocks(exclusive_prefix_sums(counts), counts);
  }

  const MoeConfig& config_;
  Collectives& ranks_;
  std::optional<std::int64_t> buffer_rows_;
  const RouteOutput* routed_ = nullptr;
  std::int64_t tokens_ = 0, arrived_ = 0;
  std::vector<Slot> inverse_;
  CountMatrix slots_, m_, kept_;
  LocalPermute local_;
  Tensor<T> rows_;
  Tensor<T> back_;    // of the backward pass: what combine brought, [n, d]
  Tensor<float> dw_;  // [T, k]
};

}  // namespace

template <class T>
std::unique_ptr<ExpertExchange<T>> make_ragged_all_to_all(const MoeConfig& config,
                                                          Collectives& ranks,
                                                          std::optional<std::int64_t> buffer_rows) {
  return std::make_unique<RaggedAllToAll<T>>(config, ranks, buffer_rows);
}
template std::unique_ptr<ExpertExchange<float>> make_ragged_all_to_all(const MoeConfig&,
                                                                       Collectives&,
                                                                       std::optional<std::int64_t>);
template std::unique_ptr<ExpertExchange<Bf16>> make_ragged_all_to_all(const MoeConfig&,
                                                                      Collectives&,
                                                                      std::optional<std::int64_t>);

}  // namespace meshsim
