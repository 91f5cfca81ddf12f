// What all JSON reports share: their head, plan values, and numbers that stay finite.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plans/resolved_config.hpp"
#include "topologies/prediction_interval.hpp"

namespace meshsim {

inline constexpr std::string_view version = "0.1.0";

using Json = nlohmann::ordered_json;

// {"$schema", "format_version", "kind"}: the head of a report of `kind` ("model", "fit", ...).
Json report_head(std::string_view kind);

// {version, config_sha256, calibration_sha256, seed}. The first hash is of every key's final value,
// so that equal plans have equal hashes whoever set the keys; the second of the calibration's
// bytes.
Json provenance(const ResolvedConfig& config);

// The SHA-256 of `text` in hexadecimal.
std::string sha256(const std::string& text);

// Every key: {"value", "origin"}; secrets are redacted.
Json resolved_json(const ResolvedConfig& config);

// A plan value as JSON of its own type: true, 4, 0.5, "text", [..], {..} or null.
Json value_json(const Node& value);

// {"low_UNIT", "high_UNIT", "coverage_ratio"} of an interval, its ends times `scale` as integers;
// null without one.
Json interval_json(const std::optional<PredictionInterval>& interval, std::string_view unit,
                   double scale);

// `document` as text: two spaces of indentation, a final newline. Throws Error(internal) if a
// number is not finite, which JSON could only write as null.
std::string json_text(const Json& document);

}  // namespace meshsim
