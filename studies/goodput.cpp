#include "studies/goodput.hpp"

#include <cmath>

namespace meshsim {
namespace {

// P(X >= count) of a Poisson variable.
double poisson_at_least(std::int64_t count, double mean) {
  double term = std::exp(-mean);
  double below = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    below += term;
    term *= mean / static_cast<double>(k + 1);
  }
  return below < 1 ? 1 - below : 0;
}

}  // namespace

double best_checkpoint_interval(double checkpoint, double mtbf) {
  double low = 0;
  double high = mtbf;
  constexpr int halvings = 100;  // to the last bit
  for (int i = 0; i < halvings; ++i) {
    const double tau = low + (high - low) / 2;
    const double left = (1 - tau / mtbf) * std::exp((tau + checkpoint) / mtbf);
    (left > 1 ? low : high) = tau;
  }
  return low;
}

Goodput goodput(const Reliability& reliability, std::int64_t chips) {
  const double mtbf = reliability.mtbf_per_chip / static_cast<double>(chips);
  const double waits = poisson_at_least(reliability.spare_slices, reliability.repair / mtbf);
  const double restart = reliability.restart + waits * reliability.repair;
  Goodput result;
  result.interval =
      reliability.interval.value_or(best_checkpoint_interval(reliability.checkpoint, mtbf));
  const double segment = result.interval + reliability.checkpoint;
  result.ratio = result.interval * std::exp(-restart / mtbf) / (mtbf * std::expm1(segment / mtbf));
  return result;
}

}  // namespace meshsim
