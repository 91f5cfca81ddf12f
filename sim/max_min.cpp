#include "sim/max_min.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {

// The speed of an activity under the levels, as far as contended resources other than `except`
// limit it.
double MaxMin::speed(const double* use, std::size_t except) const {
  double slowest = 1;
  for (std::size_t c = 0; c < contended_.size(); ++c) {
    const double share = use[contended_[c]];
    if (c != except && share > 0) slowest = std::min(slowest, levels_[c] / share);
  }
  return slowest;
}

// The level at which the users of a resource of capacity 1 fill it. Above the largest demand by
// what is left, if they do not: a continuous function of the demands, limiting nobody.
double MaxMin::water_level(std::size_t contended, std::span<const double* const> uses) {
  demands_.clear();
  for (const double* use : uses) {
    const double share = use[contended_[contended]];
    if (share > 0) demands_.push_back(share * speed(use, contended));
  }
  std::sort(demands_.begin(), demands_.end());
  double left = 1;
  for (std::size_t k = 0; k < demands_.size(); ++k) {
    const double level = left / static_cast<double>(demands_.size() - k);
    if (demands_[k] >= level) return level;
    left -= demands_[k];
  }
  return demands_.empty() ? left : demands_.back() + left;
}

void MaxMin::solve(std::span<const double* const> uses, std::size_t resources,
                   std::span<double> speeds) {
  sums_.assign(resources, 0);
  for (const double* use : uses) {
    for (std::size_t r = 0; r < resources; ++r) sums_[r] += use[r];
  }
  contended_.clear();
  for (std::size_t r = 0; r < resources; ++r) {
    if (sums_[r] > 1) contended_.push_back(r);
  }
  levels_.assign(contended_.size(), 1);
  next_.resize(contended_.size());
  // What an activity wants of one resource depends on what the others leave of its speed: iterate
  // to the fixed point. Whole steps end exactly where resources do not answer each other in a
  // circle; half steps settle circles.
  constexpr int most_rounds = 1000;
  constexpr double settled = 1e-13;
  double change = contended_.empty() ? 0 : 1;
  for (int round = 0; round < most_rounds && change > settled; ++round) {
    const double step = static_cast<std::size_t>(round) <= contended_.size() ? 1 : 0.5;
    change = 0;
    for (std::size_t c = 0; c < contended_.size(); ++c) {
      next_[c] = step * water_level(c, uses) + (1 - step) * levels_[c];
      change = std::max(change, std::abs(next_[c] - levels_[c]));
    }
    levels_.swap(next_);
    // One resource alone depends on nothing.
    if (contended_.size() == 1) break;
  }
  for (std::size_t i = 0; i < uses.size(); ++i) speeds[i] = speed(uses[i], contended_.size());
}

std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses) {
  if (uses.empty()) return {};
  std::vector<const double*> rows;
  for (const std::vector<double>& use : uses) rows.push_back(use.data());
  std::vector<double> speeds(uses.size());
  MaxMin().solve(rows, uses.front().size(), speeds);
  return speeds;
}

}  // namespace meshsim
