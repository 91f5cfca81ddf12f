#include "plans/plan_routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "inputs/data_source.hpp"
#include "routing/token_law.hpp"

namespace meshsim {
namespace {

const Setting* own_setting(const ResolvedConfig& config, const char* key) {
  const auto found = config.own.find(key);
  return found == config.own.end() ? nullptr : &found->second;
}

// The law that `key` states, or the default. resolve_config has checked that it parses.
template <class Law>
Law law_of(const ResolvedConfig& config, const char* key, Parsed<Law> (*parse)(std::string_view)) {
  const Setting* setting = own_setting(config, key);
  return setting == nullptr ? Law{} : parse(setting->value.text).value();
}

// What of the trace does not fit the plan: "experts" of 64 where 256 are wanted.
struct Misfit {
  const char* what;
  std::string got, want, hint;
};

std::vector<Misfit> misfits(const RoutingTrace& trace, const RoutingLaw& law,
                            const ModelSpec& model, std::int64_t expert_ranks) {
  std::vector<Misfit> all;
  const auto check = [&](const char* what, std::int64_t got, std::int64_t want, std::string hint) {
    if (got != want)
      all.push_back({what, fmt::format("{}", got), fmt::format("{}", want), std::move(hint)});
  };
  if (trace.model != model.name && trace.model != model.alias)
    all.push_back({"model", trace.model, model.name,
                   fmt::format("meshsim moe run model_name={}", model.name)});
  check("num_experts", trace.experts, model.config.num_experts, {});
  check("num_experts_per_tok", trace.top_k, model.config.num_experts_per_tok, {});
  check("expert-parallel ranks", trace.ranks, expert_ranks,
        fmt::format("ici_expert_parallelism={}, or meshsim moe run ranks={}", trace.ranks,
                    expert_ranks));
  const auto layers = static_cast<std::int64_t>(hash_routed(model).size());
  check("MoE layers", trace.layers, layers, fmt::format("meshsim moe run layers={}", layers));
  if (law.step >= trace.steps)
    all.push_back({"steps",
                   fmt::format("{}", trace.steps),
                   fmt::format("at least {}, for step={}", law.step + 1, law.step),
                   {}});
  return all;
}

RoutingTrace read_trace(const RoutingLaw& law, const Setting& setting, const ModelSpec& model,
                        std::int64_t expert_ranks) {
  RoutingTrace trace = parse_routing_trace(read_data(law.file));
  Diagnostics faults;
  for (Misfit& misfit : misfits(trace, law, model, expert_ranks))
    faults.add({setting.value.where, "meshsim.routing",
                fmt::format("the trace {} does not fit the plan: {} (got {}, want {})", law.file,
                            misfit.what, misfit.got, misfit.want),
                std::move(misfit.hint)});
  faults.throw_if_any();
  return trace;
}

// A scenario for layers that the model does not have is said to say nothing.
void note_without_layers(const ResolvedConfig& config, const char* key, const char* layers,
                         std::vector<std::string>& assumptions) {
  if (own_setting(config, key) != nullptr)
    assumptions.push_back(
        fmt::format("{} changes nothing: model {} has no {}", key, config.model.name, layers));
}

}  // namespace

std::vector<bool> hash_routed(const ModelSpec& model) {
  std::vector<bool> all;
  const auto add = [&](const LayerKind& kind) {
    if (const auto* moe = std::get_if<MoeMlp>(&kind.mlp))
      all.push_back(moe->routing == MoeMlp::Routing::hash);
  };
  for (std::size_t layer = 0; layer < model.num_layers(); ++layer) add(model.layer(layer));
  for (std::int64_t d = 0; d < model.mtp_layers; ++d) add(model.layer(model.num_layers() - 1));
  return all;
}

std::vector<std::size_t> expert_layers(const ModelSpec& model) {
  std::vector<std::size_t> all;
  const std::size_t layers = model.num_layers();
  for (std::size_t layer = 0; layer < layers; ++layer)
    if (std::holds_alternative<MoeMlp>(model.layer(layer).mlp)) all.push_back(layer);
  if (std::holds_alternative<MoeMlp>(model.layer(layers - 1).mlp))
    for (std::int64_t d = 0; d < model.mtp_layers; ++d)
      all.push_back(layers + static_cast<std::size_t>(d));
  return all;
}

RoutingScenario plan_routing(const ResolvedConfig& config, const ModelSpec& model,
                             std::int64_t expert_ranks, std::vector<std::string>& assumptions) {
  RoutingScenario scenario;
  scenario.law = law_of(config, "routing", parse_routing_law);
  scenario.table = law_of(config, "hash_table", parse_hash_table_law);
  scenario.tokens = law_of(config, "token_law", parse_token_law);
  const std::vector<bool> hashed = hash_routed(model);
  const bool any_hashed = std::find(hashed.begin(), hashed.end(), true) != hashed.end();
  const std::int64_t vocab = model.vocab_size;
  if (hashed.empty() && scenario.law.kind != RoutingLaw::Kind::balanced)
    note_without_layers(config, "routing", "layers with experts", assumptions);
  if (!any_hashed) {
    note_without_layers(config, "hash_table", "hash-routed layers", assumptions);
    note_without_layers(config, "token_law", "hash-routed layers", assumptions);
  }
  const bool by_trace = scenario.law.kind == RoutingLaw::Kind::trace;
  if (any_hashed && own_setting(config, "token_law") != nullptr &&
      scenario.table.kind == HashTableLaw::Kind::balanced && !by_trace) {
    scenario.table.kind = HashTableLaw::Kind::random;
    assumptions.emplace_back("a token law without a hash table: the table is random");
  }
  if (by_trace)
    scenario.trace = std::make_shared<RoutingTrace>(
        read_trace(scenario.law, *own_setting(config, "routing"), model, expert_ranks));
  if (scenario.table.kind == HashTableLaw::Kind::file)
    scenario.file_table = std::make_shared<HashTable>(
        parse_hash_table(read_source(scenario.table.file), vocab, model.config.num_experts_per_tok,
                         model.config.num_experts));
  if (scenario.tokens.kind == TokenLaw::Kind::histogram)
    scenario.histogram = std::make_shared<std::vector<std::int64_t>>(
        parse_token_histogram(read_source(scenario.tokens.file), vocab));
  return scenario;
}

}  // namespace meshsim
