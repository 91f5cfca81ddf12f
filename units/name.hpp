// A text that is kept once, for as long as the program runs: a name that is passed on and compared
// again and again. Copies cost nothing, and equal names are the same place. Safe from any thread.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

namespace meshsim {

class Name {
 public:
  Name() = default;
  // A text is one, wherever a name is asked for.
  Name(std::string_view text);
  Name(const std::string& text) : Name(std::string_view(text)) {}
  Name(const char* text) : Name(std::string_view(text)) {}

  const std::string& text() const { return *text_; }
  operator const std::string&() const { return *text_; }
  explicit operator std::string_view() const { return *text_; }
  // A number of its own, while the program runs: another one the next time.
  std::int64_t place() const { return reinterpret_cast<std::intptr_t>(text_); }

  bool starts_with(std::string_view start) const { return text_->starts_with(start); }
  bool ends_with(std::string_view end) const { return text_->ends_with(end); }

  friend bool operator==(Name a, Name b) { return a.text_ == b.text_; }
  friend std::strong_ordering operator<=>(Name a, Name b) {  // of the texts
    return a == b ? std::strong_ordering::equal : *a.text_ <=> *b.text_;
  }
  friend std::string operator+(const std::string& a, Name b) { return a + b.text(); }
  friend std::string operator+(Name a, const std::string& b) { return a.text() + b; }

 private:
  static inline const std::string nothing_;
  const std::string* text_ = &nothing_;
};

std::ostream& operator<<(std::ostream& to, Name name);

}  // namespace meshsim

template <>
struct std::hash<meshsim::Name> {
  std::size_t operator()(meshsim::Name name) const {
    return std::hash<std::int64_t>()(name.place());
  }
};
