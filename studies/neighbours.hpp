// Plans next to a plan: the same request with some keys changed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plans/resolved_config.hpp"

namespace meshsim {

// key, value; "meshsim.NAME" is a key of the meshsim: block.
using Change = std::vector<std::pair<std::string, std::string>>;

// "attention=flash use_tokamax_splash=true"
std::string change_text(const Change& change);

// `request` with the keys of `change` set on the command line, wherever they were set before.
PlanRequest changed(PlanRequest request, const Change& change);

// `word` for a shell: quoted where it needs to be.
std::string quoted_word(const std::string& word);

// The command line of `request`, to be pasted.
std::string command_of(const PlanRequest& request, const std::string& command);

}  // namespace meshsim
