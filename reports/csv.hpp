// Fields of comma-separated values (RFC 4180), safe to open in a spreadsheet.
#pragma once

#include <string>
#include <string_view>

namespace meshsim {

// Appends a text as a field: in quotes where it needs them, and with an apostrophe in front where a
// spreadsheet would take it for a formula.
void append_csv_field(std::string& to, std::string_view text);

std::string csv_field(std::string_view text);

}  // namespace meshsim
