// The constants of a chip, with their sources, for reports.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "topologies/chip.hpp"

namespace meshsim {

// [{name, value, source, note?}]: `name` ends in the unit of `value`.
nlohmann::ordered_json constants_json(const Chip& chip);

// The keys of the constants that no source states.
std::vector<std::string> not_published(const Chip& chip);

// One line for each constant: key, value, source.
std::string constants_table(const Chip& chip);

}  // namespace meshsim
