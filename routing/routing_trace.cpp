#include "routing/routing_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "inputs/fields.hpp"
#include "routing/json_lines.hpp"

namespace meshsim {
namespace {

void read_head(Fields& fields, RoutingTrace& trace) {
  const std::vector<std::string> schemas{"routing-trace/1"};
  fields.choice("schema", schemas);
  trace.model = fields.text("model");
  trace.ranks = fields.integer("ranks", {1, 1 << 20});
  trace.experts = fields.integer("experts", {1, 1 << 20});
  trace.top_k = fields.integer("top_k", {1, 1 << 20});
  trace.layers = fields.integer("layers", {1, 1 << 20});
  trace.steps = fields.integer("steps", {1, 1 << 30});
  trace.tokens_per_rank = fields.integer("tokens_per_rank", {0, largest_exact_integer >> 20});
}

RoutingRow read_row(Fields& fields, const RoutingTrace& trace) {
  return {fields.integer("layer", {0, trace.layers - 1}),
          fields.integer("step", {0, trace.steps - 1}), fields.integer("src", {0, trace.ranks - 1}),
          fields.integer("expert", {0, trace.experts - 1}),
          fields.integer("slots", {1, trace.tokens_per_rank * trace.top_k})};
}

auto place(const RoutingRow& row) { return std::tuple(row.layer, row.step, row.src, row.expert); }

// Every source routes all of its slots in every layer and step that the trace has.
void check_sums(const Source& source, const RoutingTrace& trace) {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, std::int64_t> sums;
  for (const RoutingRow& row : trace.rows) sums[{row.layer, row.step, row.src}] += row.slots;
  const std::int64_t expected = trace.tokens_per_rank * trace.top_k;
  for (std::int64_t l = 0; l < trace.layers; ++l)
    for (std::int64_t s = 0; s < trace.steps; ++s)
      for (std::int64_t p = 0; p < trace.ranks; ++p) {
        const auto found = sums.find({l, s, p});
        const std::int64_t slots = found == sums.end() ? 0 : found->second;
        if (slots != expected)
          refuse_line(
              source, 0,
              fmt::format("layer {}, step {}, src {}: slots must sum to tokens_per_rank x top_k "
                          "= {} (got {})",
                          l, s, p, expected, slots));
      }
}

}  // namespace

void RoutingTrace::add(std::int64_t layer, std::int64_t step, const CountMatrix& counts) {
  for (std::int64_t src = 0; src < counts.rows; ++src)
    for (std::int64_t e = 0; e < counts.columns; ++e)
      if (counts.at(src, e) > 0) rows.push_back({layer, step, src, e, counts.at(src, e)});
}

CountMatrix RoutingTrace::slots(std::int64_t layer, std::int64_t step) const {
  CountMatrix counts(ranks, experts);
  auto row = std::lower_bound(
      rows.begin(), rows.end(), std::tuple(layer, step),
      [](const RoutingRow& a, const auto& b) { return std::tuple(a.layer, a.step) < b; });
  for (; row != rows.end() && row->layer == layer && row->step == step; ++row)
    counts.at(row->src, row->expert) = row->slots;
  return counts;
}

std::string routing_trace_text(const RoutingTrace& trace) {
  std::string text = fmt::format(
      "{{\"schema\":\"routing-trace/1\",\"model\":\"{}\",\"ranks\":{},\"experts\":{},\"top_k\":{},"
      "\"layers\":{},\"steps\":{},\"tokens_per_rank\":{}}}\n",
      trace.model, trace.ranks, trace.experts, trace.top_k, trace.layers, trace.steps,
      trace.tokens_per_rank);
  for (const RoutingRow& row : trace.rows)
    text += fmt::format("{{\"layer\":{},\"step\":{},\"src\":{},\"expert\":{},\"slots\":{}}}\n",
                        row.layer, row.step, row.src, row.expert, row.slots);
  return text;
}

RoutingTrace parse_routing_trace(const Source& source) {
  RoutingTrace trace;
  for_each_json_line(
      source, [&](Fields& fields) { read_head(fields, trace); },
      [&](Fields& fields, int line) {
        trace.rows.push_back(read_row(fields, trace));
        const std::size_t count = trace.rows.size();
        if (count > 1 && !(place(trace.rows[count - 2]) < place(trace.rows[count - 1])))
          refuse_line(source, line,
                      "rows must ascend by (layer, step, src, expert), each given once");
      });
  check_name(trace.model, "model");
  check_sums(source, trace);
  return trace;
}

std::string traffic_text(const std::string& model, std::int64_t ranks,
                         const std::vector<TracedTraffic>& rows) {
  std::string text =
      fmt::format("{{\"schema\":\"traffic/1\",\"model\":\"{}\",\"ranks\":{}}}\n", model, ranks);
  for (const auto& [layer, step, row] : rows)
    text += fmt::format(
        "{{\"layer\":{},\"step\":{},\"collective\":\"{}\",\"src\":{},\"dst\":{},\"bytes\":{}}}\n",
        layer, step, row.collective, row.src, row.dst, row.bytes);
  return text;
}

}  // namespace meshsim
