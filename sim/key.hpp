// The inputs of a computation as numbers: equal keys, equal inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace meshsim {

// Every part is as long as its kind or says how long it is, so that no two lists of parts of the
// same kinds give one key.
class Key {
 public:
  Key& clear() {
    words_.clear();
    return *this;
  }
  Key& add(std::int64_t number) {
    words_.push_back(number);
    return *this;
  }
  Key& add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    for (std::size_t at = 0; at < text.size(); at += sizeof(std::int64_t)) {
      std::int64_t word = 0;
      std::memcpy(&word, text.data() + at, std::min(sizeof word, text.size() - at));
      words_.push_back(word);
    }
    return *this;
  }
  template <class T>
  Key& list(const std::vector<T>& numbers) {
    add(static_cast<std::int64_t>(numbers.size()));
    for (const T number : numbers) add(static_cast<std::int64_t>(number));
    return *this;
  }
  // The first `size` words of it alone.
  Key& cut(std::size_t size) {
    words_.resize(size);
    return *this;
  }
  std::span<const std::int64_t> words() const { return words_; }

  // Multiply and fold, word by word: 2^64 over the golden ratio, odd (Knuth, TAOCP 3, 6.4).
  std::uint64_t hash() const {
    std::uint64_t sum = words_.size();
    for (const std::int64_t word : words_) {
      sum = (sum ^ static_cast<std::uint64_t>(word)) * 0x9E3779B97F4A7C15U;
      sum ^= sum >> 32U;
    }
    return sum;
  }

 private:
  std::vector<std::int64_t> words_;
};

// Results by the key of their inputs. They do not move while others are added.
//
// A table of open addressing, linear probing and at most half full, holds the hash of every key and
// the number of its entry: most of what is not there is missed without looking at a key.
template <class Value>
class Memo {
 public:
  Value* find(const Key& key) {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place_of(key, key.hash())];
    return slot.entry == none ? nullptr : &entries_[slot.entry].value;
  }

  Value& insert(const Key& key, Value value) {
    if (2 * (entries_.size() + 1) > slots_.size()) grow();
    const std::uint64_t hash = key.hash();
    Slot& slot = slots_[place_of(key, hash)];
    if (slot.entry != none) return entries_[slot.entry].value = std::move(value);
    slot = {hash, entries_.size()};
    const std::size_t first = words_.size();
    words_.insert(words_.end(), key.words().begin(), key.words().end());
    return entries_.emplace_back(Entry{first, key.words().size(), std::move(value)}).value;
  }

  std::size_t size() const { return entries_.size(); }

  void clear() {
    slots_.clear();
    words_.clear();
    entries_.clear();
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  struct Slot {
    std::uint64_t hash = 0;
    std::size_t entry = none;
  };
  struct Entry {
    std::size_t first = 0, size = 0;  // of its key, in words_
    Value value;
  };

  bool is(const Entry& entry, const Key& key) const {
    const std::span<const std::int64_t> words = key.words();
    return entry.size == words.size() &&
           std::equal(words.begin(), words.end(),
                      words_.begin() + static_cast<std::ptrdiff_t>(entry.first));
  }

  // Where `key` stands, or the free slot where it would.
  std::size_t place_of(const Key& key, std::uint64_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].entry != none &&
           (slots_[at].hash != hash || !is(entries_[slots_[at].entry], key)))
      at = (at + 1) & mask;
    return at;
  }

  void grow() {
    constexpr std::size_t least = 16;
    std::vector<Slot> old(std::max(least, 2 * slots_.size()));
    old.swap(slots_);
    const std::size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.entry == none) continue;
      std::size_t at = slot.hash & mask;
      while (slots_[at].entry != none) at = (at + 1) & mask;
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two of them
  std::vector<std::int64_t> words_;
  std::deque<Entry> entries_;
};

// Gives equal values equal numbers; for the few values that many plans share.
template <class T>
class Known {
 public:
  std::int64_t id(const T& value) {
    for (std::size_t i = values_.size(); i-- > 0;) {
      if (values_[i] == value) return static_cast<std::int64_t>(i);
    }
    values_.push_back(value);
    return static_cast<std::int64_t>(values_.size()) - 1;
  }
  std::size_t size() const { return values_.size(); }

 private:
  std::vector<T> values_;
};

}  // namespace meshsim
