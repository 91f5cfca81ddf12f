// The models that come with meshsim, one data file each (model_specs/models/NAME.yml).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inputs/source.hpp"
#include "model_specs/model_spec.hpp"

namespace meshsim {

// All names, sorted.
const std::vector<std::string>& model_names();

// The file of `name`, parsed. Throws Error(invalid_input) with the nearest names if there is none.
ModelSource find_model(std::string_view name);

// A model file: name, source and a maxtext: mapping; optionally alias, notes and a meshsim:
// mapping.
ModelSource parse_model(const Source& file);

}  // namespace meshsim
