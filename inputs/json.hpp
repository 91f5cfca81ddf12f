// JSON documents through nlohmann's SAX parser, as a Node tree.
#pragma once

#include "inputs/node.hpp"
#include "inputs/source.hpp"

namespace meshsim {

// Throws Error(invalid_input), with line and column, on malformed text, duplicate keys, nesting
// beyond max_depth, more than max_nodes values, or a number beyond the range of a double
// (1e400). All other numbers keep their text: 2^64 and -0 are for the typed getters to refuse.
Node parse_json(const Source& source);

// The same for documents that are data rather than settings.
Node parse_long_json(const Source& source, std::size_t most_values);

}  // namespace meshsim
