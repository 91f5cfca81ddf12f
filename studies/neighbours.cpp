#include "studies/neighbours.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inputs/node.hpp"
#include "inputs/yaml.hpp"

namespace meshsim {
namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return text;
}

constexpr std::string_view own_prefix = "meshsim.";

Node own_value(const std::string& text) {
  constexpr const char* from = "<change>";
  if (text.starts_with('[') || text.starts_with('{')) return parse_yaml({from, text});
  Node value;
  value.kind = Node::Kind::scalar;
  value.where = {from};
  value.text = text;
  return value;
}

// The flags of what MaxText has no key for.
std::string own_flags(const PlanRequest& request) {
  std::string text;
  for (const auto& [key, value] : request.own) {
    std::string flag = "--" + key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (value.kind == Node::Kind::scalar)
      text += fmt::format(" {} {}", flag, quoted_word(value.text));
    for (const Node& item : value.items)
      text += fmt::format(" {} {}", flag, quoted_word(item.text));
    for (const Member& member : value.members)
      text += fmt::format(" {} {}", flag, quoted_word(member.key + "=" + member.value.text));
  }
  return text;
}

}  // namespace

std::string quoted_word(const std::string& word) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=/:,@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string change_text(const Change& change) {
  std::string text;
  for (const auto& [key, value] : change)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  return text;
}

PlanRequest changed(PlanRequest request, const Change& change) {
  for (const auto& [key, value] : change) {
    if (key.starts_with(own_prefix)) {
      request.own[key.substr(own_prefix.size())] = own_value(value);
      continue;
    }
    std::erase_if(request.assignments,
                  [&key = key](const std::string& word) { return word.starts_with(key + "="); });
    request.environment.erase("M_" + upper(key));
    request.assignments.push_back(fmt::format("{}={}", key, value));
  }
  return request;
}

std::string command_of(const PlanRequest& request, const std::string& command) {
  std::string text = "meshsim " + command;
  if (!request.config_file.empty()) text += " " + quoted_word(request.config_file);
  for (const std::string& word : request.assignments) text += " " + quoted_word(word);
  text += own_flags(request);
  if (!request.hf_config.empty()) text += " --hf " + quoted_word(request.hf_config);
  return text;
}

}  // namespace meshsim
