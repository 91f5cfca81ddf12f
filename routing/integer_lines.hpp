// Plain texts of integers, separated by spaces and line ends.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "inputs/source.hpp"

namespace meshsim {

// Calls `take(line, values)` for every line that is not blank. Throws Error(invalid_input) with
// line and column on a word that is no integer of [least, most], and on a text that check_text
// refuses.
void for_each_line_of_integers(
    const Source& source, std::int64_t least, std::int64_t most,
    const std::function<void(int line, std::span<const std::int64_t> values)>& take);

}  // namespace meshsim
