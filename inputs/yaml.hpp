// YAML 1.1 documents through yaml-cpp's event parser, as a Node tree.
#pragma once

#include "inputs/node.hpp"
#include "inputs/source.hpp"

namespace meshsim {

// Aliases are expanded within the node budget. Throws Error(invalid_input), with line and column,
// on malformed text, a tab in the indentation, duplicate keys (both lines are named), merge keys
// (<<), an alias of itself, more than one document, nesting beyond max_depth, or more than
// max_nodes nodes. An empty document is a null node.
Node parse_yaml(const Source& source);

}  // namespace meshsim
