#include "routing/routing_loads.hpp"

#include <algorithm>
#include <span>

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
CountMatrix hash_layer_slots(const RoutingScenario& scenario, const RoutedLayers& layers,
                             const HashTable& table, std::span<const double> cumulative,
                             std::int64_t draw) {
  const DrawShape shape{layers.ranks, layers.tokens_per_rank, layers.top_k};
  const std::int64_t texts = scenario.law.step * layers.draws + draw;
  return hashed_slots(
      cumulative, table, layers.experts, shape,
      {sub_seed(scenario.law.seed, tokens), texts * layers.ranks * layers.tokens_per_rank},
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
      static_cast<double>(layers.experts) * static_cast<double>(layers.hashed.size()) *
      static_cast<double>(layers.draws);
  return draws <= static_cast<double>(most_exact_draws) ? DrawMode::exactly : DrawMode::by_counts;
}

DrawMode hash_draw_mode(const RoutedLayers& layers) {
  const double draws = static_cast<double>(layers.ranks) *
                       static_cast<double>(layers.tokens_per_rank) *
                       static_cast<double>(layers.draws);
  return draws <= static_cast<double>(most_exact_tokens) ? DrawMode::exactly : DrawMode::by_counts;
}

RoutingLoads routing_loads(const RoutingScenario& scenario, const RoutedLayers& layers) {
  const std::size_t count = layers.hashed.size();
  const auto draws = static_cast<std::size_t>(layers.draws);
  RoutingLoads loads;
  loads.layers.resize(count * draws);
  const bool traced = scenario.law.kind == RoutingLaw::Kind::trace;
  const bool any_hashed =
      std::find(layers.hashed.begin(), layers.hashed.end(), true) != layers.hashed.end();
  if (any_hashed && !traced && scenario.table.kind != HashTableLaw::Kind::balanced) {
    const HashTable table = table_of(scenario, layers);
    const std::vector<double> cumulative = cumulative_of(scenario, layers.vocab);
    for (std::size_t draw = 0; draw < draws; ++draw) {
      const CountMatrix slots =
          hash_layer_slots(scenario, layers, table, cumulative, static_cast<std::int64_t>(draw));
      for (std::size_t layer = 0; layer < count; ++layer)
        if (layers.hashed[layer]) loads.layers[draw * count + layer] = slots;
    }
  }
  const std::uint64_t seed = scenario.law.seed;
  const std::uint64_t choice =
      sub_seed(sub_seed(seed, choices), static_cast<std::uint64_t>(scenario.law.step));
  const DrawShape shape{layers.ranks, layers.tokens_per_rank, layers.top_k};
  for (std::size_t layer = 0; layer < count; ++layer) {
    if (traced) {
      const CountMatrix slots = traced_slots(scenario, layers, layer);
      for (std::size_t draw = 0; draw < draws; ++draw) loads.layers[draw * count + layer] = slots;
    } else if (!layers.hashed[layer] && scenario.law.kind == RoutingLaw::Kind::lognormal) {
      const std::vector<double> weights =
          popularity(layers.experts, scenario.law.sigma,
                     sub_seed(sub_seed(seed, popularities), layer), scenario.law.step);
      for (std::size_t draw = 0; draw < draws; ++draw) {
        const std::uint64_t own = sub_seed(choice, layer);
        loads.layers[draw * count + layer] = drawn_slots(
            weights, shape, draw == 0 ? own : sub_seed(own, draw), top_k_draw_mode(layers));
      }
    }
  }
  return loads;
}

}  // namespace meshsim
