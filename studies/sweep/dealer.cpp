#include "studies/sweep/dealer.hpp"

#include <algorithm>
#include <utility>

namespace meshsim {
namespace {

constexpr std::int64_t shortest = 16, longest = 4096;  // stretches
constexpr std::int64_t at_first = 64;                  // when nothing is known of their time
constexpr double seconds_of_stretch = 0.25;
constexpr std::int64_t rounds = 4;  // for which what is left should be enough

}  // namespace

Dealer::Dealer(std::int64_t total, std::vector<bool> known, int workers, std::int64_t most_ahead)
    : total_(total), known_(std::move(known)), workers_(workers), most_ahead_(most_ahead) {
  if (known_.empty()) next_known_ = total_;
}

std::int64_t Dealer::first(std::int64_t from, bool known) const {
  if (known_.empty()) return from;
  const auto begin = known_.begin() + static_cast<std::ptrdiff_t>(from);
  return std::find(begin, known_.end(), known) - known_.begin();
}

Dealer::Answer Dealer::deal(std::int64_t& next, bool known) {
  if (next >= total_) return {};
  if (most_ahead_ > 0 && next >= done_ + most_ahead_) return {{}, true};
  const double in_time =
      judged_ > 0 ? judged_ / std::max(seconds_, 1e-9) * seconds_of_stretch : double{at_first};
  const auto fitting = static_cast<std::int64_t>(std::min(in_time, double{longest}));
  const std::int64_t left = (total_ - next) / (rounds * workers_);
  const std::int64_t length = std::max(std::min(fitting, left), shortest);
  std::int64_t end = std::min(next + (known ? longest : length), total_);
  if (!known_.empty()) {
    const auto begin = known_.begin() + static_cast<std::ptrdiff_t>(next);
    end = std::find(begin, known_.begin() + static_cast<std::ptrdiff_t>(end), !known) -
          known_.begin();
  }
  const PlanRange range{next, end - next};
  next = end;
  return {range};
}

Dealer::Answer Dealer::unknown() {
  const std::lock_guard lock(mutex_);
  next_unknown_ = first(next_unknown_, false);
  return deal(next_unknown_, false);
}

Dealer::Answer Dealer::any() {
  const std::lock_guard lock(mutex_);
  next_unknown_ = first(next_unknown_, false);
  next_known_ = first(next_known_, true);
  return next_known_ < next_unknown_ ? deal(next_known_, true) : deal(next_unknown_, false);
}

void Dealer::judged(std::int64_t plans, double seconds) {
  const std::lock_guard lock(mutex_);
  judged_ += static_cast<double>(plans);
  seconds_ += seconds;
}

void Dealer::done(std::int64_t plans) {
  const std::lock_guard lock(mutex_);
  done_ = plans;
}

}  // namespace meshsim
