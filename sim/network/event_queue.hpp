// What happens next: a priority queue in the total order (time, sequence).
//
// Time is in integer picoseconds. Events of equal times come out in the order in which they were
// pushed, so that equal inputs give equal runs; an event may be pushed at the present time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

namespace meshsim {

template <class Payload>
class EventQueue {
 public:
  struct Event {
    std::int64_t time_ps = 0;
    std::uint64_t sequence = 0;
    Payload payload{};
  };

  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  const Event& top() const { return heap_.top(); }

  void push(std::int64_t time_ps, Payload payload) {
    heap_.push({time_ps, next_sequence_++, std::move(payload)});
  }

  Event pop() {
    Event first = heap_.top();
    heap_.pop();
    return first;
  }

 private:
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.time_ps != b.time_ps ? a.time_ps > b.time_ps : a.sequence > b.sequence;
    }
  };

  std::priority_queue<Event, std::vector<Event>, Later> heap_;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace meshsim
