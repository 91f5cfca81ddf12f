// The table of named slices behind slice_by_name: reading it and searching it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "topologies/slice.hpp"

namespace meshsim {

// The table from the text of slices.json. Throws Error(invalid_input) that names every fault, among
// them a number of devices that is not that of the shape.
std::vector<Slice> parse_slices(const std::string& file, std::string_view text);

// The name with its family's alias resolved: "v7x-128" is "tpu7x-128".
std::string canonical_slice_name(std::string_view name);

// The two legal names that are nearest to one that is not known; fewer if nothing is near.
std::vector<std::string> nearest_slice_names(const std::string& name);

}  // namespace meshsim
