// Texts that are kept once, for as long as the program runs.
#pragma once

#include <string_view>

namespace meshsim {

// The kept copy of `text`: equal texts give views of the same characters. Safe from any thread.
std::string_view interned(std::string_view text);

}  // namespace meshsim
