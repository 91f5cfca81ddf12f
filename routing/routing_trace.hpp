// routing-trace/1 and traffic/1: what a validation run routed and moved, for the simulator to read.
//
// Both are JSON Lines: a head, then one object per row. docs/formats.md describes every field.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inputs/source.hpp"
#include "routing/count_matrix.hpp"
#include "routing/traffic.hpp"

namespace meshsim {

struct RoutingRow {
  std::int64_t layer, step, src, expert, slots;

  bool operator==(const RoutingRow&) const = default;
};

struct RoutingTrace {
  std::string model;
  std::int64_t ranks = 1;    // P
  std::int64_t experts = 1;  // E
  std::int64_t top_k = 1;    // k
  std::int64_t layers = 1, steps = 1;
  std::int64_t tokens_per_rank = 0;
  std::vector<RoutingRow> rows;  // by (layer, step, src, expert); zero counts are left out

  void add(std::int64_t layer, std::int64_t step, const CountMatrix& slots);
  // Slots per source and expert of one layer and step, [P, E].
  CountMatrix slots(std::int64_t layer, std::int64_t step) const;

  bool operator==(const RoutingTrace&) const = default;
};

std::string routing_trace_text(const RoutingTrace& trace);

// Throws Error(invalid_input) with the line: another schema, a row out of range or given twice, or
// a source whose slots are not tokens_per_rank x k.
RoutingTrace parse_routing_trace(const Source& source);

struct TracedTraffic {
  std::int64_t layer, step;
  TrafficRow row;
};

std::string traffic_text(const std::string& model, std::int64_t ranks,
                         const std::vector<TracedTraffic>& rows);

}  // namespace meshsim
