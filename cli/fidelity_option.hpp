// --fidelity, for commands that give a step time.
#pragma once

#include <memory>
#include <string>

#include "sim/evaluation.hpp"

namespace CLI {
class App;
}

namespace meshsim {

std::shared_ptr<std::string> add_fidelity_option(CLI::App& command);

// Throws Error(usage) for an unknown name.
Fidelity parse_fidelity(const std::string& text);

}  // namespace meshsim
