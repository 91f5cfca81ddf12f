// Numbers for things that may be equal: 0 to n - 1, equal things, equal numbers, in the order of
// the first of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace meshsim {

using Numbers = std::vector<std::uint32_t>;

class Numbering {
 public:
  // Of `n` things; `equal` and `hash` take their places. Returns how many differ.
  template <class Hash, class Equal>
  std::uint32_t run(std::size_t n, const Hash& hash, const Equal& equal, Numbers& numbers) {
    constexpr std::uint32_t nothing = ~std::uint32_t{0};
    std::size_t size = 16;
    while (size < 2 * n) size *= 2;
    table_.assign(size, nothing);
    numbers.resize(n);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < n; ++i) {
      std::size_t at = hash(i) & (size - 1);
      while (table_[at] != nothing && !equal(table_[at], i)) at = (at + 1) & (size - 1);
      if (table_[at] == nothing) {
        table_[at] = static_cast<std::uint32_t>(i);
        numbers[i] = next++;
      } else {
        numbers[i] = numbers[table_[at]];
      }
    }
    return next;
  }

  static std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15U;  // 2^64 over the golden ratio
    return hash ^ hash >> 29U;
  }

 private:
  std::vector<std::uint32_t> table_;  // the first of its number
};

}  // namespace meshsim
