// Fields of comma-separated values (RFC 4180), safe to open in a spreadsheet.
#pragma once

#include <string>

namespace meshsim {

// A text as a field: in quotes where it needs them, and with an apostrophe in front where a
// spreadsheet would take it for a formula.
std::string csv_field(std::string text);

}  // namespace meshsim
