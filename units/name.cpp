#include "units/name.hpp"

#include <mutex>
#include <ostream>
#include <unordered_map>
#include <unordered_set>

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

}  // namespace

Name::Name(std::string_view text) {
  // Those that this thread has met.
  thread_local std::unordered_map<std::string_view, const std::string*> known;
  const auto found = known.find(text);
  if (found != known.end()) {
    text_ = found->second;
    return;
  }
  text_ = kept(text);
  known.emplace(*text_, text_);
}

std::ostream& operator<<(std::ostream& to, Name name) { return to << name.text(); }

}  // namespace meshsim
