#include "routing/routing_loads.hpp"

#include <algorithm>
#include <span>
#include <utility>

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

RoutingDraws::RoutingDraws(const RoutingScenario& scenario, const RoutedLayers& layers)
    : scenario_(scenario), layers_(layers) {
  const DrawShape shape{layers.ranks, layers.tokens_per_rank, layers.top_k};
  const bool traced = scenario.law.kind == RoutingLaw::Kind::trace;
  const bool any_hashed =
      std::find(layers.hashed.begin(), layers.hashed.end(), true) != layers.hashed.end();
  if (any_hashed && !traced && scenario.table.kind != HashTableLaw::Kind::balanced) {
    hashed_.emplace(cumulative_of(scenario, layers.vocab), table_of(scenario, layers),
                    layers.experts, shape, hash_draw_mode(layers));
  }
  for (std::size_t layer = 0; layer < layers.hashed.size(); ++layer) {
    if (traced) {
      traced_.push_back(traced_slots(scenario, layers, layer));
    } else if (!layers.hashed[layer] && scenario.law.kind == RoutingLaw::Kind::lognormal) {
      routers_.emplace_back(
          popularity(layers.experts, scenario.law.sigma,
                     sub_seed(sub_seed(scenario.law.seed, popularities), layer), scenario.law.step),
          shape, top_k_draw_mode(layers));
    }
  }
}

std::vector<CountMatrix> RoutingDraws::operator()(std::int64_t draw) const {
  if (!traced_.empty()) return traced_;
  const RoutingLaw& law = scenario_.law;
  const std::uint64_t choice =
      sub_seed(sub_seed(law.seed, choices), static_cast<std::uint64_t>(law.step));
  CountMatrix hashed;
  if (hashed_) {
    const std::int64_t texts = law.step * layers_.draws + draw;
    hashed =
        (*hashed_)({sub_seed(law.seed, tokens), texts * layers_.ranks * layers_.tokens_per_rank});
  }
  std::vector<CountMatrix> slots;
  auto router = routers_.begin();
  for (std::size_t layer = 0; layer < layers_.hashed.size(); ++layer) {
    if (layers_.hashed[layer]) {
      slots.push_back(hashed);
    } else if (router == routers_.end()) {
      slots.emplace_back();
    } else {
      const std::uint64_t own = sub_seed(choice, layer);
      slots.push_back(
          (*router++)(draw == 0 ? own : sub_seed(own, static_cast<std::uint64_t>(draw))));
    }
  }
  return slots;
}

RoutingLoads routing_loads(const RoutingScenario& scenario, const RoutedLayers& layers) {
  const RoutingDraws draws(scenario, layers);
  RoutingLoads loads;
  for (std::int64_t draw = 0; draw < layers.draws; ++draw) {
    for (CountMatrix& slots : draws(draw)) loads.layers.push_back(std::move(slots));
  }
  return loads;
}

}  // namespace meshsim
