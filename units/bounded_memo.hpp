// Results of a function by its inputs, as far as they were asked for lately; for any thread.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

namespace meshsim {

// Keeps `most` results; the oldest one makes room. A function of its key alone: two threads that
// ask for one result at once may both compute it, and find the same.
template <class Key, class Value>
class BoundedMemo {
 public:
  explicit BoundedMemo(std::size_t most) : most_(most) {}

  template <class Make>
  Value get(const Key& key, const Make& make) {
    {
      const std::lock_guard lock(mutex_);
      const auto known = results_.find(key);
      if (known != results_.end()) return known->second;
    }
    Value value = make();
    const std::lock_guard lock(mutex_);
    const auto [entry, is_new] = results_.try_emplace(key, value);
    if (is_new) order_.push_back(entry);
    if (order_.size() > most_) {
      results_.erase(order_.front());
      order_.pop_front();
    }
    return value;
  }

 private:
  using Results = std::map<Key, Value>;
  std::size_t most_;
  std::mutex mutex_;
  Results results_;
  std::deque<typename Results::iterator> order_;  // the oldest first
};

}  // namespace meshsim
