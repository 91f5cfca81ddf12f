// Memory for large buffers that come and go.
//
// A page that the system hands out fresh is zeroed at its first touch, and on a virtual machine
// found first: that costs more than a pass of the layer over its rows. Freed blocks are therefore
// kept for the next buffer of their size class.
//
//   live + kept <= the most that was ever live: keeping never makes the process larger.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

namespace meshsim {

class KeptBlocks {
 public:
  // Sizes in one class share blocks: an eighth of the power of two below, so that at most an eighth
  // of a block lies idle (and untouched). Blocks below 128 KiB are the allocator's affair.
  static constexpr std::size_t least = std::size_t{128} << 10;
  static std::size_t class_of(std::size_t bytes);

  ~KeptBlocks();

  // `bytes` >= least; aligned to a large page from two of them on, else to 64. Throws bad_alloc.
  void* take(std::size_t bytes);
  void give_back(void* block, std::size_t bytes) noexcept;

  std::size_t live() const { return live_; }
  std::size_t kept() const { return kept_; }
  std::size_t most() const { return most_; }

 private:
  // Returns kept blocks to the system, the largest first, until the sum is at most `most_`.
  void shrink();

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> blocks_;  // by class
  std::size_t live_ = 0, kept_ = 0, most_ = 0;        // bytes, in whole classes
};

}  // namespace meshsim
