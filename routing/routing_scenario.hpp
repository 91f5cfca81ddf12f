// Which experts the tokens of a simulated step choose: the laws that stand for a real router.
//
//   top-k layers   balanced     every expert receives as many slots from every rank
//                  lognormal    popularity e^(sigma N(0, 1)) of each expert, drawn per layer; each
//                               token takes k distinct experts (routing/popularity.hpp); sigma 0,
//                               without a spread, is balanced: chance alone is not drawn
//                  trace        what a validation run routed, hash layers included
//   hash layers    a table of token ids under a law of tokens; balanced if neither is named
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "routing/hash_table.hpp"
#include "routing/routing_trace.hpp"
#include "units/parse.hpp"

namespace meshsim {

struct RoutingLaw {
  enum class Kind { balanced, lognormal, trace };
  Kind kind = Kind::balanced;
  double sigma = 0;        // lognormal
  std::uint64_t seed = 0;  // lognormal
  std::int64_t step = 0;   // lognormal, trace: which step of the training run
  std::string file;        // trace
};

struct HashTableLaw {
  enum class Kind { balanced, zeros, random, md5, file };
  Kind kind = Kind::balanced;
  std::string file;
};

struct TokenLaw {
  enum class Kind { uniform, zipf, histogram };
  Kind kind = Kind::uniform;
  double s = 1, q = 2.7;  // zipf: P(rank r) proportional to 1 / (r + q)^s, token id r - 1
  std::string file;       // histogram
};

// "balanced", "lognormal:sigma=S,seed=N[,step=K]", "trace:FILE[,step=K]".
Parsed<RoutingLaw> parse_routing_law(std::string_view text);
// "zeros", "random", "md5", or a path: whatever has a '/' or a '.'.
Parsed<HashTableLaw> parse_hash_table_law(std::string_view text);
// "uniform", "zipf:s=S,q=Q" (1 and 2.7 unless given), "histogram:FILE".
Parsed<TokenLaw> parse_token_law(std::string_view text);

struct RoutingScenario {
  RoutingLaw law;
  HashTableLaw table;
  TokenLaw tokens;
  // What the files hold, where a law names one.
  std::shared_ptr<const RoutingTrace> trace;
  std::shared_ptr<const HashTable> file_table;
  std::shared_ptr<const std::vector<std::int64_t>> histogram;  // [vocab]

  // Every expert of every layer receives as many slots.
  bool balanced() const {
    return law.kind == RoutingLaw::Kind::balanced && table.kind == HashTableLaw::Kind::balanced;
  }
};

// The scenario in sentences; `hashed`: which layers route by token id.
std::vector<std::string> described(const RoutingScenario& scenario,
                                   const std::vector<bool>& hashed);

}  // namespace meshsim
