// Reading traffic/1: the bytes that a validation run moved (docs/formats.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inputs/source.hpp"
#include "routing/count_matrix.hpp"
#include "routing/routing_trace.hpp"

namespace meshsim {

struct TrafficFile {
  std::string model;
  std::int64_t ranks = 1;  // all of them
  std::vector<TracedTraffic> rows;
};

// Whether `text` says that it is of this schema.
bool is_traffic(std::string_view text);

// Throws Error(invalid_input) with the line: another schema, a rank out of range, a rank that sends
// to itself, no bytes, and if all bytes sum to more than 2^53.
TrafficFile parse_traffic(const Source& source);

// Which rows: those of one collective, of one layer, of one step; absent: all of them.
struct TrafficChoice {
  std::optional<std::string> collective;
  std::optional<std::int64_t> layer, step;
};

// "dispatch", "layer=3", "dispatch,layer=3,step=0".
Parsed<TrafficChoice> parse_traffic_choice(std::string_view text);

// Their bytes from rank (row) to rank. Throws Error(invalid_input) if no row is chosen.
CountMatrix chosen_bytes(const TrafficFile& file, const TrafficChoice& choice);

}  // namespace meshsim
