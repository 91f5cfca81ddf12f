// The space of a sweep: a base plan, axes along which it is varied, and conditions.
//
//   base:                                    # keys of a plan, as on the command line
//     model_name: deepseek4-284b
//   axes:
//     compile_topology: [v5p-128, v5p-256]   # a key and its values
//     ici_expert_parallelism: {powers_of_two: [1, 16]}
//     num_vocab_tiling: {divisors_of: 8}
//     strategy:                              # any name, if its entries set several keys each
//       - {use_ring_of_experts: true}
//       - {use_ring_of_experts: false, num_moe_token_chunks: 2}
//   where:
//     - ici_fsdp_parallelism * ici_expert_parallelism == chips
//
// A plan of the space is one entry of each axis laid over the base; an axis wins over the base. The
// last axis varies fastest. What a condition calls a key is the value as it is written (a degree of
// -1 is -1); `chips` and `devices` are those of all slices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plans/resolved_config.hpp"
#include "studies/neighbours.hpp"
#include "studies/sweep/expression.hpp"

namespace meshsim {

struct SpaceAxis {
  std::string name;
  Location where;
  std::vector<Change> entries;  // at least one
};

struct SweepSpace {
  PlanRequest base;
  std::vector<Location> base_places;  // of base.assignments
  std::vector<SpaceAxis> axes;
  std::vector<Expression> where;
  std::string source;  // the path, as it was given
};

inline constexpr std::size_t max_axis_entries = 100'000;

// Throws Error: io for a file that cannot be read; invalid_input, with places, for everything that
// is wrong with it: unknown keys, values that are not of a key's type, an axis without entries, a
// key on two axes, malformed conditions.
SweepSpace read_space(const std::string& path);

}  // namespace meshsim
