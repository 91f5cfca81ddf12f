#include "moe/kept_blocks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>
#include <ranges>

namespace meshsim {
namespace {

constexpr std::size_t large_page = std::size_t{2} << 20;

std::align_val_t alignment_of(std::size_t size) {
  return std::align_val_t{size >= 2 * large_page ? large_page : 64};
}

void* fresh(std::size_t size) {
  void* const block = ::operator new(size, alignment_of(size));
  if (size >= 2 * large_page) ::madvise(block, size, MADV_HUGEPAGE);  // a wish, no more
  return block;
}

void release(void* block, std::size_t size) noexcept {
  ::operator delete(block, alignment_of(size));
}

}  // namespace

std::size_t KeptBlocks::class_of(std::size_t bytes) {
  const std::size_t step = std::bit_floor(std::max(bytes, least)) / 8;
  return (bytes + step - 1) / step * step;
}

KeptBlocks::~KeptBlocks() {
  for (auto& [size, blocks] : blocks_)
    for (void* const block : blocks) release(block, size);
}

void* KeptBlocks::take(std::size_t bytes) {
  const std::size_t size = class_of(bytes);
  const std::lock_guard lock(mutex_);
  std::vector<void*>& same = blocks_[size];
  void* block = nullptr;
  if (same.empty()) {
    live_ += size;
    most_ = std::max(most_, live_);
    shrink();  // before the system is asked for more
    try {
      block = fresh(size);
    } catch (...) {
      live_ -= size;
      throw;
    }
    return block;
  }
  block = same.back();
  same.pop_back();
  kept_ -= size;
  live_ += size;
  most_ = std::max(most_, live_);
  return block;
}

void KeptBlocks::give_back(void* block, std::size_t bytes) noexcept {
  const std::size_t size = class_of(bytes);
  const std::lock_guard lock(mutex_);
  live_ -= size;
  try {
    blocks_[size].push_back(block);
    kept_ += size;
  } catch (...) {  // no memory to remember it
    release(block, size);
  }
}

void KeptBlocks::shrink() {
  for (auto& [size, blocks] : blocks_ | std::views::reverse) {
    while (live_ + kept_ > most_ && !blocks.empty()) {
      release(blocks.back(), size);
      blocks.pop_back();
      kept_ -= size;
    }
  }
}

}  // namespace meshsim
