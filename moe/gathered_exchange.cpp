// All rows are gathered on every rank; partial results are reduce-scattered (ring of experts and
// its kin). The policies differ in how a rank learns the choice of the others.
//
//   x[T, d] -> all-gather -> x_all[P T, d] -> the rows of the own experts -> experts
//   y[R, w] -> weighted sum -> partial[P T, w] -> reduce-scatter -> out[T, w]
#include <algorithm>
#include <numeric>

#include "moe/expert_exchange.hpp"
#include "moe/permute.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

template <class T>
Tensor<T> column_slice(const Tensor<T>& x, std::int64_t first, std::int64_t count) {
  Tensor<T> slice({x.rows(), count});
  for (std::int64_t t = 0; t < x.rows(); ++t) std::copy_n(x.row(t) + first, count, slice.row(t));
  return slice;
}

template <class T>
class GatheredExchange : public ExpertExchange<T> {
 public:
  GatheredExchange(const MoeConfig& config, Collectives& ranks,
                   std::optional<std::int64_t> buffer_rows)
      : config_(config), ranks_(ranks), buffer_rows_(buffer_rows) {}

  std::vector<std::int64_t> dispatch(const Tensor<T>& x, const RouteOutput& routed) override {
    const std::int64_t experts = config_.rule.experts;
    const std::int64_t local_experts = experts / ranks_.size();
    x_ = &x;
    choice_ = gather_choice(routed);  // of all P T tokens
    count_slots();
    // Rolled so that the own experts come first: rows beyond theirs belong to others.
    RouteMetadata sorted = sort_slots(choice_.ids, experts, local_experts * ranks_.place());
    std::vector<std::int64_t> groups(sorted.group_sizes.begin(),
                                     sorted.group_sizes.begin() + local_experts);
    if (config_.ragged_buffer_factor > 0) cut(groups, *buffer_rows_);
    arrived_ = std::accumulate(groups.begin(), groups.end(), std::int64_t{0});
    sorted.order.resize(static_cast<std::size_t>(arrived_));
    order_ = std::move(sorted.order);
    inverse_.assign(choice_.ids.size(), -1);
    for (std::size_t i = 0; i < order_.size(); ++i)
      inverse_[static_cast<std::size_t>(order_[i])] = static_cast<Slot>(i);
    return groups;
  }

  Tensor<T> rows(std::int64_t chunk) override {
    const std::int64_t chunks =
        config_.strategy == Strategy::embedding_chunks ? config_.num_moe_emb_chunks : 1;
    if (chunk > 0 && config_.logits_per_chunk) repeat_gather_of_choice();
    const std::int64_t width = x_->width() / chunks;
    const Tensor<T> x_all =  // [P T, d / chunks]
        chunks == 1
            ? ranks_.all_gather_rows("all_gather_x", *x_)
            : ranks_.all_gather_rows("all_gather_x", column_slice(*x_, chunk * width, width));
    Tensor<T> rows({buffer_rows_.value_or(arrived_), width});
    fan_out_rows(x_all, inverse_, config_.rule.top_k, rows);
    return rows;
  }

  Tensor<T> combine(Tensor<T> y) override {
    Tensor<T> partial({x_->rows() * ranks_.size(), y.width()});
    weighted_sum(y, inverse_, this->row_weights().empty() ? choice_.weights.data() : nullptr,
                 config_.rule.top_k, config_.float32_weight_sum, partial);
    y = {};
    return ranks_.reduce_scatter_rows("reduce_scatter", partial);
  }

  const CountMatrix& slots() const override { return slots_; }

  Tensor<T> gradients_of_results(const Tensor<T>& dy, const Tensor<T>& y) override {
    const std::int64_t k = config_.rule.top_k, d = dy.width();
    const Tensor<T> all = ranks_.all_gather_rows("all_gather_dy", dy);  // [P T, d]
    const bool weighted = this->row_weights().empty();                  // by combine
    dw_ = Tensor<float>::zeros({all.rows(), k});
    Tensor<T> rows({arrived_, d});
    for (std::int64_t i = 0; i < arrived_; ++i) {
      const Slot slot = order_[static_cast<std::size_t>(i)];
      const T* const upstream = all.row(slot / k);
      const float weight = weighted ? choice_.weights.data()[slot] : 1.0F;
      float product = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        product += to_float(y.row(i)[c]) * to_float(upstream[c]);
        rows.row(i)[c] = from_float<T>(weight * to_float(upstream[c]));
      }
      if (weighted) dw_.data()[slot] = product;
    }
    return rows;
  }

  void take_row_weight_gradients(std::span<const float> gradients) override {
    for (std::size_t i = 0; i < gradients.size(); ++i) dw_.data()[order_[i]] = gradients[i];
  }

  Tensor<T> gradients_of_tokens(Tensor<T> drows) override {
    const std::int64_t chunks =
        config_.strategy == Strategy::embedding_chunks ? config_.num_moe_emb_chunks : 1;
    Tensor<T> partial({x_->rows() * ranks_.size(), drows.width()});
    weighted_sum(drows, inverse_, nullptr, config_.rule.top_k, true, partial);
    if (chunks == 1) return ranks_.reduce_scatter_rows("reduce_scatter_dx", partial);
    Tensor<T> dx({x_->rows(), drows.width()});
    const std::int64_t width = drows.width() / chunks;
    for (std::int64_t c = chunks; c-- > 0;) {  // the last slice's gradients are the first
      const Tensor<T> slice =
          ranks_.reduce_scatter_rows("reduce_scatter_dx", column_slice(partial, c * width, width));
      for (std::int64_t t = 0; t < dx.rows(); ++t)
        std::copy_n(slice.row(t), width, dx.row(t) + c * width);
    }
    return dx;
  }

 protected:
  virtual Choice gather_choice(const RouteOutput& routed) = 0;
  virtual void repeat_gather_of_choice() {}

  const MoeConfig& config_;
  Collectives& ranks_;
  std::optional<std::int64_t> buffer_rows_;
  const Tensor<T>* x_ = nullptr;
  Choice choice_;
  std::vector<Slot> order_;
  CountMatrix slots_;  // [P, E]
  Tensor<float> dw_;   // of the backward pass: [P T, k], zero but for the rows that are here

 private:
  void count_slots() {
    slots_ = CountMatrix(ranks_.size(), config_.rule.experts);
    const std::size_t per_rank = choice_.ids.size() / static_cast<std::size_t>(ranks_.size());
    for (std::size_t s = 0; s < choice_.ids.size(); ++s)
      ++slots_.at(static_cast<std::int64_t>(s / per_rank), choice_.ids[s]);
  }

  // A full buffer cuts by expert: the last local experts lose.
  static void cut(std::vector<std::int64_t>& groups, std::int64_t room) {
    for (std::int64_t& rows : groups) {
      rows = std::min(rows, room);
      room -= rows;
    }
  }

  std::int64_t arrived_ = 0;
  std::vector<Slot> inverse_;  // [P n], -1 for slots of other shards and dropped ones
};

// The gate's tables are gathered and every rank chooses for all tokens.
template <class T>
class Ring : public GatheredExchange<T> {
 public:
  using GatheredExchange<T>::GatheredExchange;

 protected:
  Choice gather_choice(const RouteOutput& routed) override {
    routed_ = &routed;
    GateOutput all{gathered("all_gather_gate_logits", routed.gate.biased), {}};
    if (this->config_.rule.keeps_pre_bias)
      all.pre_bias = gathered("all_gather_pre_bias", routed.gate.pre_bias);
    if (this->keeps_) all_pre_ = all.pre_bias;
    RandomDraw draw{routed.draw.seed, {}};
    for (std::int64_t rank = 0; rank < this->ranks_.size(); ++rank)
      for (const std::int64_t token : routed.draw.tokens)
        draw.tokens.push_back(token % routed.global_tokens_per_rank +
                              rank * routed.global_tokens_per_rank);
    return choose_experts(this->config_.rule, all, routed.expert_scale, draw);
  }
  void repeat_gather_of_choice() override { this->choice_ = gather_choice(*routed_); }

 public:
  // Every rank chose for all tokens: each has the gradients of its own rows' weights.
  Tensor<float> gradients_of_scores(const Tensor<float>&) override {
    const Tensor<float> all =
        gradient_of_scores(this->config_.rule, all_pre_, this->choice_, this->dw_);  // [P T, E]
    constexpr const char* collective = "reduce_scatter_d_pre";
    if (this->config_.rule.float32_gate) return this->ranks_.reduce_scatter_rows(collective, all);
    return to_f32(this->ranks_.reduce_scatter_rows(collective, to_bf16(all)));
  }

 private:
  // In the gate's own type; its values are exact in it.
  Tensor<float> gathered(std::string_view collective, const Tensor<float>& table) {
    if (this->config_.rule.float32_gate) return this->ranks_.all_gather_rows(collective, table);
    return to_f32(this->ranks_.all_gather_rows(collective, to_bf16(table)));
  }

  const RouteOutput* routed_ = nullptr;
  Tensor<float> all_pre_;  // [P T, E], kept for the backward pass
};

// Each rank chooses for its own tokens; ids and weights are gathered, and the weights multiply h
// before the down-projection.
template <class T>
class GatheredChoice : public GatheredExchange<T> {
 public:
  using GatheredExchange<T>::GatheredExchange;

  std::vector<std::int64_t> dispatch(const Tensor<T>& x, const RouteOutput& routed) override {
    const std::vector<std::int64_t> mine =
        slots_per_expert(routed.choice.ids, this->config_.rule.experts);
    const std::vector<std::int64_t> all = this->ranks_.all_reduce_counts("all_reduce_counts", mine);
    std::vector<std::int64_t> groups = GatheredExchange<T>::dispatch(x, routed);
    for (std::int64_t e = 0; e < this->config_.rule.experts; ++e)
      if (all[static_cast<std::size_t>(e)] != this->slots_.column_sum(e))
        throw Error(ErrorKind::internal, "summed counts differ from gathered ids");
    for (const Slot slot : this->order_) row_weights_.push_back(this->choice_.weights.data()[slot]);
    return groups;
  }
  std::span<const float> row_weights() const override { return row_weights_; }

  Tensor<T> rows_again() override {
    const Tensor<T> x_all = this->ranks_.all_gather_rows("all_gather_x_again", *this->x_);
    Tensor<T> rows({static_cast<std::int64_t>(this->order_.size()), x_all.width()});
    gather_rows(x_all, this->order_, this->config_.rule.top_k, rows);
    return rows;
  }

  Tensor<float> gradients_of_scores(const Tensor<float>& pre) override {
    constexpr const char* collective = "reduce_scatter_d_weights";
    const auto mine = [&]() -> Tensor<float> {  // [T, k]
      if constexpr (std::is_same_v<T, float>) {
        return this->ranks_.reduce_scatter_rows(collective, this->dw_);
      } else {
        return to_f32(this->ranks_.reduce_scatter_rows(collective, to_bf16(this->dw_)));
      }
    }();
    return gradient_of_scores(this->config_.rule, pre, routed_->choice, mine);
  }

 protected:
  Choice gather_choice(const RouteOutput& routed) override {
    routed_ = &routed;
    Choice all;
    all.ids =
        this->ranks_.all_gather("all_gather_ids", std::span<const ExpertId>(routed.choice.ids));
    if constexpr (std::is_same_v<T, float>) {
      all.weights = this->ranks_.all_gather_rows("all_gather_weights", routed.choice.weights);
    } else {
      all.weights = to_f32(
          this->ranks_.all_gather_rows("all_gather_weights", to_bf16(routed.choice.weights)));
    }
    return all;
  }

 private:
  std::vector<float> row_weights_;
  const RouteOutput* routed_ = nullptr;
};

}  // namespace

template <class T>
std::unique_ptr<ExpertExchange<T>> make_ring(const MoeConfig& config, Collectives& ranks,
                                             std::optional<std::int64_t> buffer_rows) {
  return std::make_unique<Ring<T>>(config, ranks, buffer_rows);
}

template <class T>
std::unique_ptr<ExpertExchange<T>> make_gathered_choice(const MoeConfig& config, Collectives& ranks,
                                                        std::optional<std::int64_t> buffer_rows) {
  return std::make_unique<GatheredChoice<T>>(config, ranks, buffer_rows);
}

template <class T>
std::unique_ptr<ExpertExchange<T>> make_exchange(const MoeConfig& config, Collectives& ranks,
                                                 std::optional<std::int64_t> buffer_rows) {
  switch (config.strategy) {
    case Strategy::ragged_all_to_all: return make_ragged_all_to_all<T>(config, ranks, buffer_rows);
    case Strategy::ring_of_experts:
    case Strategy::token_chunks:
    case Strategy::embedding_chunks: return make_ring<T>(config, ranks, buffer_rows);
    case Strategy::batch_split: return make_gathered_choice<T>(config, ranks, buffer_rows);
  }
  throw Error(ErrorKind::internal, "an unknown strategy");
}

template std::unique_ptr<ExpertExchange<float>> make_exchange(const MoeConfig&, Collectives&,
                                                              std::optional<std::int64_t>);
template std::unique_ptr<ExpertExchange<Bf16>> make_exchange(const MoeConfig&, Collectives&,
                                                             std::optional<std::int64_t>);

}  // namespace meshsim
