#include "routing/routing_loads.hpp"

#include <algorithm>

#include "routing/popularity.hpp"
#include "routing/random.hpp"
#include "routing/token_law.hpp"

namespace meshsim {
namespace {

// Parts of the scenario's seed. Tokens and tables are those of a validation run with that seed.
enum Part : std::uint64_t { tokens = 1, tables = 2, popularities = 100, choices = 101 };

std::vector<double> cumulative_of(const RoutingScenario& scenario, std::int64_t vocab) {
  std::vector<double> cumulative;
  if (scenario.tokens.kind == TokenLaw::Kind::histogram) {
    double sum = 0;
    for (const std::int64_t count : *scenario.histogram)
      cumulative.push_back(sum += static_cast<double>(count));
    for (double& value : cumulative) value /= sum;
    return cumulative;
  }
  const bool zipf = scenario.tokens.kind == TokenLaw::Kind::zipf;
  const ZipfMandelbrot law(vocab, zipf ? scenario.tokens.s : 0, zipf ? scenario.tokens.q : 0);
  return {law.cumulative().begin(), law.cumulative().end()};
}

HashTable table_of(const RoutingScenario& scenario, const RoutedLayers& layers) {
  switch (scenario.table.kind) {
    case HashTableLaw::Kind::md5: return md5_hash_table(layers.vocab, layers.top_k, layers.experts);
    case HashTableLaw::Kind::random:
      return random_hash_table(layers.vocab, layers.top_k, layers.experts,
                               sub_seed(scenario.law.seed, tables));
    case HashTableLaw::Kind::file: return *scenario.file_table;
    default: return zeros_hash_table(layers.vocab, layers.top_k);
  }
}

// Of every layer that a table of token ids routes: all see one table and one text.
CountMatrix hash_layer_slots(const RoutingScenario& scenario, const RoutedLayers& layers) {
  const DrawShape shape{layers.ranks, layers.tokens_per_rank, layers.top_k};
  return hashed_slots(cumulative_of(scenario, layers.vocab), table_of(scenario, layers),
                      layers.experts, shape,
                      {sub_seed(scenario.law.seed, tokens),
                       scenario.law.step * layers.ranks * layers.tokens_per_rank},
                      hash_draw_mode(layers));
}

CountMatrix traced_slots(const RoutingScenario& scenario, const RoutedLayers& layers,
                         std::size_t layer) {
  const RoutingTrace& trace = *scenario.trace;
  CountMatrix slots = trace.slots(static_cast<std::int64_t>(layer), scenario.law.step);
  if (trace.tokens_per_rank == layers.tokens_per_rank) return slots;
  const double scale = trace.tokens_per_rank == 0 ? 0
                                                  : static_cast<double>(layers.tokens_per_rank) /
                                                        static_cast<double>(trace.tokens_per_rank);
  const std::int64_t sum = layers.tokens_per_rank * layers.top_k;
  for (std::int64_t p = 0; p < slots.rows; ++p) {
    std::vector<double> row;
    for (const std::int64_t count : slots.row(p)) row.push_back(static_cast<double>(count) * scale);
    const std::vector<std::int64_t> scaled = rounded_to_sum(row, sum, sum);
    std::copy(scaled.begin(), scaled.end(), slots.counts.begin() + p * slots.columns);
  }
  return slots;
}

}  // namespace

DrawMode top_k_draw_mode(const RoutedLayers& layers) {
  const double draws =
      static_cast<double>(layers.ranks) * static_cast<double>(layers.tokens_per_rank) *
      static_cast<double>(layers.experts) * static_cast<double>(layers.hashed.size());
  return draws <= static_cast<double>(most_exact_draws) ? DrawMode::exactly : DrawMode::by_counts;
}

DrawMode hash_draw_mode(const RoutedLayers& layers) {
  const double draws =
      static_cast<double>(layers.ranks) * static_cast<double>(layers.tokens_per_rank);
  return draws <= static_cast<double>(most_exact_tokens) ? DrawMode::exactly : DrawMode::by_counts;
}

RoutingLoads routing_loads(const RoutingScenario& scenario, const RoutedLayers& layers) {
  RoutingLoads loads;
  CountMatrix hashed;
  const std::uint64_t seed = scenario.law.seed;
  const auto step = static_cast<std::uint64_t>(scenario.law.step);
  const DrawShape shape{layers.ranks, layers.tokens_per_rank, layers.top_k};
  for (std::size_t layer = 0; layer < layers.hashed.size(); ++layer) {
    CountMatrix& slots = loads.layers.emplace_back();
    if (scenario.law.kind == RoutingLaw::Kind::trace) {
      slots = traced_slots(scenario, layers, layer);
    } else if (layers.hashed[layer]) {
      if (scenario.table.kind == HashTableLaw::Kind::balanced) continue;
      if (hashed.counts.empty()) hashed = hash_layer_slots(scenario, layers);
      slots = hashed;
    } else if (scenario.law.kind == RoutingLaw::Kind::lognormal) {
      const std::vector<double> weights =
          popularity(layers.experts, scenario.law.sigma,
                     sub_seed(sub_seed(seed, popularities), layer), scenario.law.step);
      slots = drawn_slots(weights, shape, sub_seed(sub_seed(sub_seed(seed, choices), step), layer),
                          top_k_draw_mode(layers));
    }
  }
  return loads;
}

}  // namespace meshsim
