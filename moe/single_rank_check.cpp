#include "moe/single_rank_check.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/run_weights.hpp"

namespace meshsim {

template <class T>
SingleRankCheck<T>::SingleRankCheck(const RunConfig& run) : run_(run) {
  for (std::int64_t l = 0; l < run.layers; ++l)
    weights_.push_back(drawn_weights<T>(run, l, 0, 1, 0, 1));
  result_.judged = std::is_same_v<T, float> && run.moe.ragged_buffer_factor <= 0 &&
                   !run.moe.per_device_statistics;
}

template <class T>
void SingleRankCheck<T>::operator()(std::int64_t layer, std::int64_t step,
                                    const LayerSeen<T>& seen) {
  const auto ids = std::span(run_.token_ids)
                       .subspan(static_cast<std::size_t>(step * run_.tokens),
                                static_cast<std::size_t>(run_.tokens));
  if (layer == 0) next_ = embedded<T>(run_, ids);
  const auto given = next_.flat();
  if (!std::equal(seen.x.begin(), seen.x.end(), given.begin(), given.end())) {
    result_.passed = false;
    expect_close(seen.x, next_, result_.max_abs_error);
  }
  Tensor<T> x(next_.shape());
  std::copy_n(seen.x.begin(), std::min<std::size_t>(seen.x.size(), given.size()), x.data());

  Ledger ledger;
  const LayerResult<T> expected =
      run_layer(run_, LayerPlace{layer, step, 0, ids}, x, weights_[static_cast<std::size_t>(layer)],
                rank_.grid(), ledger);
  if (seen.ids != expected.out.routed.choice.ids) result_.routing_equal = result_.passed = false;
  expect_close(seen.y, expected.out.y, result_.max_abs_error);
  if (run_.backward) expect_close(seen.dx, expected.dx, result_.max_abs_gradient_error);

  Tensor<T> y(x.shape());
  std::copy_n(seen.y.begin(), std::min(seen.y.size(), y.flat().size()), y.data());
  add_residual(x, y);
  next_ = std::move(x);
}

template <class T>
void SingleRankCheck<T>::expect_close(const std::vector<T>& these, const Tensor<T>& those,
                                      double& most) {
  if (these.size() != those.flat().size()) {
    result_.passed = false;
    return;
  }
  for (std::size_t i = 0; i < these.size(); ++i) {
    const double expected = to_float(those.flat()[i]);
    const double error = std::abs(to_float(these[i]) - expected);
    most = std::max(most, std::isfinite(error) ? error : std::numeric_limits<double>::max());
    if (!(error <= 1e-5 * (1 + std::abs(expected)))) result_.passed = false;
  }
}

template class SingleRankCheck<float>;
template class SingleRankCheck<Bf16>;

}  // namespace meshsim
