// Short ways to ask for a plan, for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plans/plan.hpp"

namespace meshsim::testing {

using Words = std::vector<std::string>;

inline PlanRequest request(Words assignments) {
  PlanRequest made;
  made.assignments = std::move(assignments);
  return made;
}

inline ResolvedConfig config_of(Words assignments) {
  return resolve_config(request(std::move(assignments)));
}

inline Plan plan_of(Words assignments) { return make_plan(request(std::move(assignments))); }

// DeepSeek-V4-Flash on 256 v5p chips, one sequence of 4096 tokens on each, and `more`.
inline Words flash(Words more = {}) {
  Words words{"model_name=deepseek4-284b", "compile_topology=v5p-512", "attention=dot_product",
              "per_device_batch_size=1", "max_target_length=4096"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Llama 3.1 8B (a dense model that MaxText refuses little of) on 32 v5p chips.
inline Words llama(Words more = {}) {
  Words words{"model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=1",
              "max_target_length=2048"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace meshsim::testing
