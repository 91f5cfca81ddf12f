// The JSON Schemas (draft 2020-12) of the reports, as they are shipped in reports/schemas/.
#pragma once

#include <string>
#include <string_view>

namespace meshsim {

// The schema of "plan", "model", "models", "topology", "validate"...; "report" accepts any of them.
// Throws Error(invalid_input) for another name.
std::string report_schema(std::string_view name);

}  // namespace meshsim
