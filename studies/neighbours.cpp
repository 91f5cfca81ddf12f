#include "studies/neighbours.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

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

// Whether a shell takes `word` as it stands.
bool is_plain_word(std::string_view word) {
  static constexpr auto plain = [] {
    std::array<bool, 256> is{};
    for (const unsigned char c :
         std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                          "._-+=/:,@%"))
      is[c] = true;
    return is;
  }();
  return !word.empty() && std::all_of(word.begin(), word.end(),
                                      [](char c) { return plain[static_cast<unsigned char>(c)]; });
}

// Of " key=value" of all words.
std::size_t length_of(const Change& change) {
  std::size_t length = 0;
  for (const auto& [key, value] : change) length += key.size() + value.size() + 2;
  return length;
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
  if (is_plain_word(word)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string change_text(const Change& change) {
  std::string text;
  text.reserve(length_of(change));
  for (const auto& [key, value] : change) {
    if (!text.empty()) text += ' ';
    text.append(key).append(1, '=').append(value);
  }
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

// Whether begin_ and end_ hold for `change`.
bool ChangedCommands::find_common(const Change& change) {
  const auto same_key = [](const std::string& key, const auto& one) { return key == one.first; };
  if (std::equal(keys_.begin(), keys_.end(), change.begin(), change.end(), same_key))
    return common_;
  keys_.clear();
  common_ = true;
  PlanRequest request = base_;
  request.hf_config.clear();
  request.own.clear();
  for (const auto& [key, value] : change) {
    common_ = common_ && !key.starts_with(own_prefix) &&
              std::find(keys_.begin(), keys_.end(), key) == keys_.end();
    keys_.push_back(key);
    std::erase_if(request.assignments,
                  [&key = key](const std::string& word) { return word.starts_with(key + "="); });
  }
  begin_ = command_of(request, command_);
  end_ = own_flags(base_);
  if (!base_.hf_config.empty()) end_ += " --hf " + quoted_word(base_.hf_config);
  return common_;
}

std::string ChangedCommands::of(const Change& change) {
  if (!find_common(change)) return command_of(changed(base_, change), command_);
  std::string text;
  text.reserve(begin_.size() + length_of(change) + end_.size());
  text += begin_;
  for (const auto& [key, value] : change) {
    const std::size_t word = text.size() + 1;
    text.append(1, ' ').append(key).append(1, '=').append(value);
    if (!is_plain_word(std::string_view(text).substr(word)))
      text.replace(word, std::string::npos, quoted_word(text.substr(word)));
  }
  return text += end_;
}

}  // namespace meshsim
