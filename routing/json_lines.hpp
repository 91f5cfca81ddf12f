// JSON Lines: a head, then one object per row.
#pragma once

#include <functional>
#include <string>

#include "inputs/fields.hpp"
#include "inputs/source.hpp"

namespace meshsim {

// Calls `head` for line 1 and `row(fields, line)` for each line after it. Faults name the line of
// the file. Throws Error(invalid_input) on an empty text and on what check_text refuses.
void for_each_json_line(const Source& source, const std::function<void(Fields&)>& head,
                        const std::function<void(Fields&, int line)>& row);

[[noreturn]] void refuse_line(const Source& source, int line, std::string what);

}  // namespace meshsim
