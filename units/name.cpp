#include "units/name.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <ostream>
#include <unordered_set>
#include <vector>

namespace meshsim {
namespace {

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

const std::string* kept(std::string_view text) {
  static std::mutex guard;
  static std::unordered_set<std::string, Hash, std::equal_to<>> texts;  // they do not move
  const std::lock_guard lock(guard);
  const auto known = texts.find(text);
  return &*(known != texts.end() ? known : texts.emplace(text).first);
}

// Names are short: eight characters at a time, multiplied by 2^64 over the golden ratio and folded
// (Knuth, TAOCP 3, 6.4).
std::size_t hash_of(std::string_view text) {
  std::uint64_t hash = text.size();
  for (std::size_t at = 0; at < text.size(); at += sizeof hash) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min(sizeof word, text.size() - at));
    hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32U;
  }
  return hash;
}

// Names that a thread has met: open addressing, at most half full.
class Met {
 public:
  const std::string* find(std::string_view text) {
    if (2 * (met_ + 1) > slots_.size()) grow();
    const std::size_t hash = hash_of(text);
    Slot& slot = slot_of(text, hash);
    if (slot.text == nullptr) {
      slot = {hash, kept(text)};
      ++met_;
    }
    return slot.text;
  }

 private:
  struct Slot {
    std::size_t hash = 0;
    const std::string* text = nullptr;
  };

  Slot& slot_of(std::string_view text, std::size_t hash) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].text != nullptr && (slots_[at].hash != hash || *slots_[at].text != text))
      at = (at + 1) & mask;
    return slots_[at];
  }

  void grow() {
    constexpr std::size_t least = 1024;
    std::vector<Slot> old(std::max(least, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.text != nullptr) slot_of(*slot.text, slot.hash) = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two of them
  std::size_t met_ = 0;
};

}  // namespace

Name::Name(std::string_view text) {
  thread_local Met met;
  if (!text.empty()) text_ = met.find(text);
}

std::ostream& operator<<(std::ostream& to, Name name) { return to << name.text(); }

}  // namespace meshsim
