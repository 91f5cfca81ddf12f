#include "topologies/mesh_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace meshsim {
namespace {

using Sizes = std::span<const std::int64_t>;

Assignment all_ones(std::size_t physical_axes, std::size_t logical_axes) {
  return Assignment(physical_axes, std::vector<std::int64_t>(logical_axes, 1));
}

// The first combination, in index order, of `count` free axes that multiplies to `size`; extends
// `chosen`, or leaves it as it was.
bool choose_whole(Sizes physical, const std::vector<bool>& taken, std::int64_t size,
                  std::size_t count, std::size_t first, std::vector<std::size_t>& chosen) {
  if (count == 0) return size == 1;
  for (std::size_t axis = first; axis < physical.size(); ++axis) {
    if (taken[axis] || size % physical[axis] != 0) continue;
    chosen.push_back(axis);
    if (choose_whole(physical, taken, size / physical[axis], count - 1, axis + 1, chosen)) {
      return true;
    }
    chosen.pop_back();
  }
  return false;
}

std::vector<std::size_t> whole_axes_for(Sizes physical, const std::vector<bool>& taken,
                                        std::int64_t size) {
  std::vector<std::size_t> chosen;
  for (std::size_t count = 3; count > 0; --count) {
    if (choose_whole(physical, taken, size, count, 0, chosen)) break;
  }
  return chosen;
}

// One way to write a logical size as parts of the physical axes, with what it is judged by.
struct Candidate {
  std::int64_t whole_product = 0;
  std::int64_t whole_axes = 0;
  std::int64_t overlapping_product = 0;
  std::vector<std::int64_t> parts;

  auto key() const { return std::tie(whole_product, whole_axes, overlapping_product, parts); }
};

class SplitSearch {
 public:
  // `left`: what the more intense axes left of each physical axis.
  SplitSearch(Sizes physical, Sizes left) : physical_(physical), left_(left) {}

  std::vector<std::int64_t> best_parts(std::int64_t size) {
    parts_.assign(physical_.size(), 1);
    best_ = {};
    try_axis(0, size);
    return best_.parts;
  }

 private:
  void try_axis(std::size_t axis, std::int64_t rest) {
    if (axis == physical_.size()) {
      if (rest == 1) judge();
      return;
    }
    const std::int64_t most = std::gcd(left_[axis], rest);
    for (std::int64_t part = 1; part <= most; ++part) {
      if (most % part != 0) continue;
      parts_[axis] = part;
      try_axis(axis + 1, rest / part);
    }
  }

  void judge() {
    Candidate candidate{1, 0, 1, parts_};
    for (std::size_t axis = 0; axis < physical_.size(); ++axis) {
      const bool whole = parts_[axis] == physical_[axis];
      const bool occupied = left_[axis] != physical_[axis];
      if (whole) candidate.whole_product *= parts_[axis];
      if (whole && parts_[axis] > 1) ++candidate.whole_axes;
      if (occupied) candidate.overlapping_product *= parts_[axis];
    }
    if (candidate.key() > best_.key()) best_ = std::move(candidate);
  }

  Sizes physical_;
  Sizes left_;
  std::vector<std::int64_t> parts_;
  Candidate best_;
};

double distance_between(Sizes degrees, Sizes wanted) {
  double distance = 0;
  for (std::size_t axis = 0; axis < wanted.size(); ++axis) {
    distance +=
        std::abs(std::log2(static_cast<double>(degrees[axis]) / static_cast<double>(wanted[axis])));
  }
  return distance;
}

}  // namespace

WholeAxes place_whole_axes(Sizes physical, Sizes logical) {
  WholeAxes placed{all_ones(physical.size(), logical.size()), std::nullopt, {}};
  std::vector<bool> taken(physical.size(), false);
  for (std::size_t l = logical.size(); l-- > 0;) {
    if (logical[l] == 1) continue;
    const std::vector<std::size_t> chosen = whole_axes_for(physical, taken, logical[l]);
    if (chosen.empty()) {
      placed.refused = l;
      for (std::size_t p = 0; p < physical.size(); ++p) {
        if (!taken[p] && physical[p] > 1) placed.left.push_back(physical[p]);
      }
      return placed;
    }
    for (const std::size_t p : chosen) {
      taken[p] = true;
      placed.assignment[p][l] = physical[p];
    }
  }
  return placed;
}

Assignment place_split_axes(Sizes physical, Sizes logical) {
  Assignment assignment = all_ones(physical.size(), logical.size());
  std::vector<std::int64_t> left(physical.begin(), physical.end());
  for (std::size_t l = logical.size(); l-- > 0;) {
    if (logical[l] == 1) continue;
    const std::vector<std::int64_t> parts = SplitSearch(physical, left).best_parts(logical[l]);
    for (std::size_t p = 0; p < physical.size(); ++p) {
      assignment[p][l] = parts[p];
      left[p] /= parts[p];
    }
  }
  return assignment;
}

std::vector<std::int64_t> nearest_whole_degrees(Sizes physical, Sizes logical) {
  std::pair<double, std::vector<std::int64_t>> best{std::numeric_limits<double>::infinity(), {}};
  std::size_t choices = 1;
  for (std::size_t p = 0; p < physical.size(); ++p) choices *= logical.size();
  for (std::size_t choice = 0; choice < choices; ++choice) {
    std::vector<std::int64_t> degrees(logical.size(), 1);
    std::size_t rest = choice;
    for (const std::int64_t size : physical) {
      degrees[rest % logical.size()] *= size;
      rest /= logical.size();
    }
    std::pair<double, std::vector<std::int64_t>> found{distance_between(degrees, logical), degrees};
    if (found < best && !place_whole_axes(physical, degrees).refused) best = std::move(found);
  }
  return best.second;
}

}  // namespace meshsim
