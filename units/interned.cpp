#include "units/interned.hpp"

#include <functional>
#include <mutex>
#include <set>
#include <string>

namespace meshsim {

std::string_view interned(std::string_view text) {
  static std::mutex guard;
  static std::set<std::string, std::less<>> texts;  // nodes do not move
  const std::lock_guard<std::mutex> lock(guard);
  auto at = texts.find(text);
  if (at == texts.end()) at = texts.emplace(text).first;
  return *at;
}

}  // namespace meshsim
