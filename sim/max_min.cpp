#include "sim/max_min.hpp"

#include <algorithm>
#include <cmath>

namespace meshsim {
namespace {

// The level at which users that want `demands` of a capacity of 1 fill it. Above the largest demand
// by what is left, if they do not: a continuous function of the demands, limiting nobody.
double water_level(std::vector<double>& demands) {
  std::sort(demands.begin(), demands.end());
  double left = 1;
  for (std::size_t k = 0; k < demands.size(); ++k) {
    const double level = left / static_cast<double>(demands.size() - k);
    if (demands[k] >= level) return level;
    left -= demands[k];
  }
  return demands.empty() ? left : demands.back() + left;
}

// The speed of an activity under `levels`, as far as resources other than `except` limit it.
double speed(const std::vector<double>& uses, const std::vector<double>& levels,
             std::size_t except) {
  double slowest = 1;
  for (std::size_t r = 0; r < uses.size(); ++r) {
    if (r != except && uses[r] > 0) slowest = std::min(slowest, levels[r] / uses[r]);
  }
  return slowest;
}

}  // namespace

std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses) {
  if (uses.empty()) return {};
  const std::size_t resources = uses.front().size();
  std::vector<double> levels(resources, 1);
  std::vector<double> demands;
  // What an activity wants of one resource depends on what the others leave of its speed: iterate
  // to the fixed point. Whole steps end exactly where resources do not answer each other in a
  // circle; half steps settle circles.
  constexpr int most_rounds = 1000;
  constexpr double settled = 1e-13;
  double change = 1;
  for (int round = 0; round < most_rounds && change > settled; ++round) {
    std::vector<double> next(resources);
    const double step = static_cast<std::size_t>(round) <= resources ? 1 : 0.5;
    change = 0;
    for (std::size_t r = 0; r < resources; ++r) {
      demands.clear();
      for (const std::vector<double>& use : uses) {
        if (use[r] > 0) demands.push_back(use[r] * speed(use, levels, r));
      }
      next[r] = step * water_level(demands) + (1 - step) * levels[r];
      change = std::max(change, std::abs(next[r] - levels[r]));
    }
    levels = std::move(next);
  }
  std::vector<double> speeds;
  for (const std::vector<double>& use : uses) speeds.push_back(speed(use, levels, resources));
  return speeds;
}

}  // namespace meshsim
