#include "inputs/node.hpp"

#include <fmt/format.h>

namespace meshsim {

const Node* Node::find(std::string_view key) const {
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

std::string described(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null: return "nothing";
    case Node::Kind::sequence: return "a list";
    case Node::Kind::mapping: return "a mapping";
    case Node::Kind::scalar: break;
  }
  return in_quotes(node.text);
}

std::string flow_text(const Node& node) {
  std::string text;
  switch (node.kind) {
    case Node::Kind::null: return "null";
    case Node::Kind::scalar: return node.quoted ? fmt::format("\"{}\"", node.text) : node.text;
    case Node::Kind::sequence:
      for (const Node& item : node.items) text += (text.empty() ? "" : ", ") + flow_text(item);
      return "[" + text + "]";
    case Node::Kind::mapping:
      for (const Member& member : node.members) {
        text += (text.empty() ? "" : ", ") + member.key + ": " + flow_text(member.value);
      }
      return "{" + text + "}";
  }
  return text;
}

}  // namespace meshsim
