#include "routing/strategy.hpp"

#include <algorithm>
#include <array>

#include "inputs/nearest.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

const std::array<std::string, 5> names{"ragged_all_to_all", "ring_of_experts", "token_chunks",
                                       "embedding_chunks", "batch_split"};

}  // namespace

std::span<const std::string> strategy_names() { return names; }

std::string_view name(Strategy strategy) { return names[static_cast<std::size_t>(strategy)]; }

Parsed<Strategy> parse_strategy(std::string_view text) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end())
    return Parsed<Strategy>::ok(static_cast<Strategy>(found - names.begin()));
  std::string known;
  for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
  return Parsed<Strategy>::refused("must be one of " + known + " (got " + in_quotes(text) + ")");
}

}  // namespace meshsim
