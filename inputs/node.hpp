// A document as a tree, from YAML or JSON alike, each node with its place in the file.
//
// Scalars keep their raw text: nothing is converted, and so nothing can be rounded, before a typed
// getter (inputs/fields.hpp) asks for a certain type. Duplicate keys, nesting beyond max_depth and
// documents beyond max_nodes never become a tree: the readers refuse them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "units/error.hpp"

namespace meshsim {

struct Member;

struct Node {
  enum class Kind { null, scalar, sequence, mapping };

  Kind kind = Kind::null;
  Location where;
  std::string text;             // scalar: its characters
  bool quoted = false;          // scalar: written in quotes, hence a string whatever it looks like
  std::vector<Node> items;      // sequence
  std::vector<Member> members;  // mapping, in the order of the file

  // The value under `key` of a mapping, or nullptr.
  const Node* find(std::string_view key) const;
};

struct Member {
  std::string key;
  Location where;  // of the key
  Node value;
};

inline constexpr int max_depth = 64;
inline constexpr std::size_t max_nodes = 200'000;

// "a mapping", "a list", "nothing" or the scalar's text in quotes: for error messages.
std::string described(const Node& node);

// The node as compact JSON-like text, for showing a value to a person.
std::string flow_text(const Node& node);

}  // namespace meshsim
