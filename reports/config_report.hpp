// A resolved configuration: every key with its value, where that came from, and what meshsim does
// with it.
#pragma once

#include <string>

#include "plans/resolved_config.hpp"
#include "reports/document.hpp"

namespace meshsim {

// Schema https://meshsim.dev/schema/config/1.
Json config_json(const ResolvedConfig& config);

// The keys that are not at their default, then the ignored ones among them with the reason; with
// `everything`, all keys.
std::string config_table(const ResolvedConfig& config, bool everything);

}  // namespace meshsim
