#include "sim/agenda.hpp"

#include <algorithm>

namespace meshsim {

void Agenda::reset(std::size_t devices) {
  levels_.clear();
  std::size_t begin = 0;
  for (std::size_t size = devices; size > 1; size = (size + width - 1) / width) {
    levels_.push_back(begin);
    begin += (size + width - 1) / width * width;
  }
  levels_.push_back(begin);
  times_.assign(begin + 1, never);
}

void Agenda::set(std::uint32_t device, std::int64_t time) {
  times_[device] = time;
  std::size_t at = device;
  for (std::size_t level = 0; level + 1 < levels_.size(); ++level) {
    at /= width;
    const std::int64_t* node = times_.data() + levels_[level] + at * width;
    std::int64_t soonest = node[0];
    for (std::size_t i = 1; i < width; ++i) soonest = std::min(soonest, node[i]);
    std::int64_t& known = times_[levels_[level + 1] + at];
    if (known == soonest) return;
    known = soonest;
  }
}

std::uint32_t Agenda::soonest() const {
  std::size_t at = 0;
  for (std::size_t level = levels_.size() - 1; level-- > 0;) {
    const std::int64_t* node = times_.data() + levels_[level] + at * width;
    at = at * width + static_cast<std::size_t>(std::find(node, node + width, time()) - node);
  }
  return static_cast<std::uint32_t>(at);
}

}  // namespace meshsim
