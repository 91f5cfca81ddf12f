// How rows reach their experts and results reach their tokens: one policy per strategy.
//
//   P ranks, this one p; T tokens here, n = T k slots; e_l = E / P local experts; r rows arrive
//
// One object serves one layer call (or one chunk, or one microbatch): dispatch, rows, combine.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "moe/collectives.hpp"
#include "moe/moe_config.hpp"
#include "moe/router.hpp"
#include "routing/count_matrix.hpp"

namespace meshsim {

// What routing decided for the tokens of one rank.
struct RouteOutput {
  GateOutput gate;  // empty in hash layers, which look at the chosen logits only
  Choice choice;
  std::vector<float> expert_scale;          // [E] Gemma4's, or empty
  RandomDraw draw;                          // of random routing
  std::int64_t global_tokens_per_rank = 0;  // of which these tokens may be a chunk
};

// The ranks that this one works with: experts are spread over one group, widths over the other.
struct RankGrid {
  Collectives experts;  // P
  Collectives tensors;  // X
};

template <class T>
class ExpertExchange {
 public:
  virtual ~ExpertExchange() = default;

  // Sends x [T, d] (or what a ring needs to choose again) on its way. Returns the rows that each
  // local expert will have, [e_l].
  virtual std::vector<std::int64_t> dispatch(const Tensor<T>& x, const RouteOutput& routed) = 0;

  // Column slice c of the rows, sorted by local expert: [R, d / chunks], R >= r. Asked for once.
  virtual Tensor<T> rows(std::int64_t chunk) = 0;

  // Weights that multiply h before the down-projection, [r]; empty: combine applies the weights.
  virtual std::span<const float> row_weights() const { return {}; }

  // y [R, w] of the local experts -> the result of this rank's tokens, [T, w].
  virtual Tensor<T> combine(Tensor<T> y) = 0;

  // Slots per source and expert, [P, E], as every rank knows them after dispatch.
  virtual const CountMatrix& slots() const = 0;

  // ---- the backward pass of a dropless exchange, in this order, if asked for before dispatch

  void keep_for_backward() { keeps_ = true; }

  // dy [T, d] of this rank's tokens, and y [r, d] of the local experts -> dY [r, d]: times the
  // weights, where combine applies them.
  virtual Tensor<T> gradients_of_results(const Tensor<T>& dy, const Tensor<T>& y) = 0;
  // Of row_weights(), [r], where there are such.
  virtual void take_row_weight_gradients(std::span<const float>) {}
  // The rows once more, where a schedule gathers them again instead of keeping them; or empty.
  virtual Tensor<T> rows_again() { return {}; }
  // dX [r, d] -> dx [T, d], the copies of a token summed.
  virtual Tensor<T> gradients_of_tokens(Tensor<T> drows) = 0;
  // The gradient of the scores `pre` [T, E] of this rank's tokens, through the weights.
  virtual Tensor<float> gradients_of_scores(const Tensor<float>& pre) = 0;

 protected:
  bool keeps_ = false;
};

// dpre [T, E] from dw [T, k], for weights that are chosen scores, normalised and scaled:
//   w_j = scale a_j / (sum a + 1e-20), a = pre at the chosen ids
// It is linear in dw: parts of dw that different ranks have may be summed after.
Tensor<float> gradient_of_scores(const RouterRule& rule, const Tensor<float>& pre,
                                 const Choice& choice, const Tensor<float>& dw);

// `buffer_rows`: rows of the buffer that feeds the experts, R; without it buffers hold just what
// arrives, since here, unlike on a TPU, a shape may depend on data.
template <class T>
std::unique_ptr<ExpertExchange<T>> make_exchange(const MoeConfig& config, Collectives& ranks,
                                                 std::optional<std::int64_t> buffer_rows);

template <class T>
std::unique_ptr<ExpertExchange<T>> make_ragged_all_to_all(const MoeConfig& config,
                                                          Collectives& ranks,
                                                          std::optional<std::int64_t> buffer_rows);
// Ring of experts, whole or in embedding chunks.
template <class T>
std::unique_ptr<ExpertExchange<T>> make_ring(const MoeConfig& config, Collectives& ranks,
                                             std::optional<std::int64_t> buffer_rows);
// One microbatch of batch_split.
template <class T>
std::unique_ptr<ExpertExchange<T>> make_gathered_choice(const MoeConfig& config, Collectives& ranks,
                                                        std::optional<std::int64_t> buffer_rows);

}  // namespace meshsim
