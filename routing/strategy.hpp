// How tokens and experts of different ranks come together.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "units/parse.hpp"

namespace meshsim {

enum class Strategy {
  ragged_all_to_all,  // rows travel to their experts and back
  ring_of_experts,    // all rows are gathered everywhere; partial sums are reduce-scattered
  token_chunks,       // a ring per chunk of the sequence
  embedding_chunks,   // a ring whose gather comes in slices of d, under the up-projection
  batch_split,        // two microbatches; ids and weights are gathered instead of logits
};

std::string_view name(Strategy strategy);
Parsed<Strategy> parse_strategy(std::string_view text);
std::span<const std::string> strategy_names();

// Whether the experts are chosen anew on every rank from gathered gate logits. Hash layers cannot:
// the token ids are not gathered.
constexpr bool gathers_logits(Strategy strategy) {
  return strategy == Strategy::ring_of_experts || strategy == Strategy::token_chunks ||
         strategy == Strategy::embedding_chunks;
}

}  // namespace meshsim
