// What many ranks computed against one rank that has all tokens and all experts.
//
// Layer by layer, from the input that the ranks had: float32 sums in another order differ by a few
// units of 2^-24, and over a stack of layers such differences add up (1e-6 a layer, 4e-5 after 43).
// From one input, routing must be the same choice for choice, because a token's logits do not
// depend on the tokens beside it (moe/gate_product.hpp), and |a - b| <= 1e-5 (1 + |b|) holds at any
// depth. That the layers are stacked as they should be is checked to the bit: x_0 is the embedding,
// and x_{l+1} = x_l + y_l.
#pragma once

#include <vector>

#include "moe/run_layer.hpp"

namespace meshsim {

struct SingleRankComparison {
  bool routing_equal = true;
  double max_abs_error = 0;           // of the layers' outputs y
  double max_abs_gradient_error = 0;  // of their dx, if there is a backward pass
  bool judged = false;  // the results must agree: float32, dropless, common statistics
  bool passed = true;   // same routing and |a - b| <= 1e-5 (1 + |b|)
};

// What the ranks had and made of it, put together; in the order of the tokens.
template <class T>
struct LayerSeen {
  std::vector<T> x, y, dx;    // [tokens, d]; dx may be empty
  std::vector<ExpertId> ids;  // [tokens, k]
};

template <class T>
class SingleRankCheck {
 public:
  // Draws the weights of all layers. `run` must outlive it.
  explicit SingleRankCheck(const RunConfig& run);

  // Every layer of a step in order, and step after step.
  void operator()(std::int64_t layer, std::int64_t step, const LayerSeen<T>& seen);

  const SingleRankComparison& result() const { return result_; }

 private:
  void expect_close(const std::vector<T>& these, const Tensor<T>& those, double& most);

  const RunConfig& run_;
  SingleRank rank_;
  std::vector<MoeWeights<T>> weights_;  // per layer
  Tensor<T> next_;                      // x of the next layer
  SingleRankComparison result_;
};

}  // namespace meshsim
