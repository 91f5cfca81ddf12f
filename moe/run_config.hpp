// A validation run as `key=value` words state it. docs/moe.md lists every key.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "moe/moe_config.hpp"
#include "routing/hash_table.hpp"

namespace meshsim {

struct RunKey {
  std::string name, value, meaning;  // the default; empty: the model's or a derived one
};

// Every key with its default, in the order of the documentation.
std::span<const RunKey> run_keys();

struct RunConfig {
  std::string model;
  MoeConfig moe;
  bool bfloat16 = false;  // dtype: of weights and activations
  bool mlp_bias = false;
  std::int64_t layers = 1, steps = 1;
  std::int64_t tokens = 0;  // of all ranks, per step
  std::int64_t ranks = 1;   // expert ranks x tensor_ranks
  std::int64_t tensor_ranks = 1;
  std::uint64_t seed = 0;
  bool backward = false;  // each layer's gradients as well, for dy = its own output
  bool compare_single_rank = true;
  std::string routing_trace, traffic;        // files to write, or ""
  std::vector<std::int64_t> token_ids;       // [steps, tokens]
  HashTable table;                           // of hash layers
  std::map<std::string, std::string> given;  // the words, for the report

  std::int64_t expert_ranks() const { return ranks / tensor_ranks; }
  std::int64_t tokens_per_rank() const { return tokens / expert_ranks(); }
};

// `launched_ranks`: the ranks that a launcher (mpirun) has started, 0 without one. Throws
// Error(invalid_input) with all faults of the words; then those of check_config; then, with their
// places, those of the files.
RunConfig parse_run(const std::vector<std::string>& words, std::int64_t launched_ranks);

}  // namespace meshsim
