// JSON documents through nlohmann's SAX parser, as a Node tree.
#pragma once

#include "inputs/node.hpp"
#include "inputs/source.hpp"

namespace meshsim {

// Throws Error(invalid_input), with line and column, on malformed text, duplicate keys, nesting
// beyond max_depth, or more than max_nodes values. Numbers keep their text, whatever their size.
Node parse_json(const Source& source);

}  // namespace meshsim
