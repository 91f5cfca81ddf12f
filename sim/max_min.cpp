#include "sim/max_min.hpp"

#include <algorithm>

namespace meshsim {

std::vector<double> max_min_speeds(std::span<const std::vector<double>> uses) {
  const std::size_t activities = uses.size();
  std::vector<double> speeds(activities, 1.0);
  if (activities == 0) return speeds;
  const std::size_t resources = uses.front().size();
  std::vector<double> left(resources, 1.0);
  std::vector<bool> fixed(activities, false);
  std::size_t open = activities;
  while (open > 0) {
    double level = 1.0;
    std::size_t bottleneck = resources;  // none: everyone reaches full speed
    for (std::size_t r = 0; r < resources; ++r) {
      double demand = 0;
      for (std::size_t i = 0; i < activities; ++i) {
        if (!fixed[i]) demand += uses[i][r];
      }
      if (demand > 0 && left[r] / demand < level) {
        level = left[r] / demand;
        bottleneck = r;
      }
    }
    for (std::size_t i = 0; i < activities; ++i) {
      if (fixed[i] || (bottleneck < resources && uses[i][bottleneck] <= 0)) continue;
      fixed[i] = true;
      --open;
      speeds[i] = level;
      for (std::size_t r = 0; r < resources; ++r)
        left[r] = std::max(0.0, left[r] - level * uses[i][r]);
    }
  }
  return speeds;
}

}  // namespace meshsim
