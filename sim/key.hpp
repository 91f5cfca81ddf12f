// The inputs of a computation as bytes: equal keys, equal inputs.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace meshsim {

// Every part is as long as its kind or says how long it is, so that no two lists of parts of the
// same kinds give one key.
class Key {
 public:
  Key& clear() {
    bytes_.clear();
    return *this;
  }
  Key& add(std::int64_t number) {
    char raw[sizeof number];
    std::memcpy(raw, &number, sizeof number);
    bytes_.append(raw, sizeof raw);
    return *this;
  }
  Key& add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    bytes_ += text;
    return *this;
  }
  template <class T>
  Key& list(const std::vector<T>& numbers) {
    add(static_cast<std::int64_t>(numbers.size()));
    for (const T number : numbers) add(static_cast<std::int64_t>(number));
    return *this;
  }
  // The first `size` bytes of it alone.
  Key& cut(std::size_t size) {
    bytes_.resize(size);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Results by the key of their inputs.
template <class Value>
class Memo {
 public:
  Value* find(const Key& key) {
    const auto at = values_.find(key.bytes());
    return at == values_.end() ? nullptr : &at->second;
  }
  Value& insert(const Key& key, Value value) {
    return values_.insert_or_assign(key.bytes(), std::move(value)).first->second;
  }
  std::size_t size() const { return values_.size(); }
  void clear() { values_.clear(); }

 private:
  std::unordered_map<std::string, Value> values_;  // its elements do not move
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
