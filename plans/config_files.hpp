// A plan file with the files it extends through `base_config:`.
#pragma once

#include <string>
#include <vector>

#include "inputs/node.hpp"

namespace meshsim {

struct ConfigFiles {
  std::vector<Node> files;         // mappings, the most basic one first
  std::vector<std::string> notes;  // for the user
};

// Reads `path` and its chain; relative names are looked up beside the file that names them. A
// missing path that ends in base.yml stands for MaxText's own defaults. Throws Error: io for a
// first file that cannot be read; invalid_input, with the chain, for a cycle or a base_config that
// cannot be resolved.
ConfigFiles read_config_files(const std::string& path);

// The path `name` that the file `from` states, which is relative to its folder.
std::string relative_to(const std::string& from, const std::string& name);

}  // namespace meshsim
