// What happens next: a priority queue in the total order (time, sequence).
//
// Time is in integer picoseconds. Events of equal times come out in the order in which they were
// pushed, so that equal inputs give equal runs; an event may be pushed at the present time. A heap
// with four children a node: half as deep as a binary one, and the children share a cache line.
#pragma once

#include <array>
#include <cstdint>
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
  const Event& top() const { return heap_.front(); }

  void push(std::int64_t time_ps, Payload payload) {
    heap_.push_back({time_ps, next_sequence_++, payload});
    const Event event = heap_.back();
    std::size_t hole = heap_.size() - 1;
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!before(event, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = event;
  }

  Event pop() {
    const Event first = heap_.front();
    const Event last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sink(last);
    return first;
  }

 private:
  static bool before(const Event& a, const Event& b) {
    return a.time_ps < b.time_ps || (a.time_ps == b.time_ps && a.sequence < b.sequence);
  }

  // Puts `event` where the top was. The hole goes all the way down first, since what comes from
  // the end of the heap belongs near the bottom, and `event` then rises from there.
  void sink(const Event& event) {
    const std::size_t size = heap_.size();
    std::size_t hole = 0;
    for (;;) {
      const std::size_t child = 4 * hole + 1;
      if (child + 4 <= size) {
        const std::size_t left = before(heap_[child + 1], heap_[child]) ? child + 1 : child;
        const std::size_t right =
            before(heap_[child + 3], heap_[child + 2]) ? child + 3 : child + 2;
        const std::size_t least = before(heap_[right], heap_[left]) ? right : left;
        heap_[hole] = heap_[least];
        hole = least;
      } else {
        if (child >= size) break;
        std::size_t least = child;
        for (std::size_t other = child + 1; other < size; ++other) {
          if (before(heap_[other], heap_[least])) least = other;
        }
        heap_[hole] = heap_[least];
        hole = least;
      }
    }
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!before(event, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = event;
  }

  std::vector<Event> heap_;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace meshsim
