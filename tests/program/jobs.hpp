// Plans whose step can be lowered, for tests.
#pragma once

#include <string>
#include <vector>

#include "model_specs/catalogue.hpp"
#include "program/lower.hpp"
#include "tests/plans/plan_request.hpp"

namespace meshsim::testing {

// `model` on `slice`, one sequence of 2048 tokens on each device, sharded by FSDP, without
// multi-token prediction, unless `more` says otherwise.
inline Words job(const std::string& model, const std::string& slice, Words more = {}) {
  Words words{"model_name=" + model,    "compile_topology=" + slice, "per_device_batch_size=1",
              "max_target_length=2048", "attention=dot_product",     "sharding_tolerance=1",
              "mtp_num_layers=0",       "override_model_config=true"};
  for (std::string& word : more) {
    // A key given twice is refused: the later one replaces the default.
    const std::string key = word.substr(0, word.find('=') + 1);
    std::erase_if(words, [&](const std::string& old) { return old.starts_with(key); });
    words.push_back(std::move(word));
  }
  return words;
}

// A plan with one of MaxText's refusals lifted.
inline Plan hypothetical_plan(Words words, const std::string& lifted) {
  PlanRequest made = request(std::move(words));
  Node id;
  id.kind = Node::Kind::scalar;
  id.text = lifted;
  Node allow;
  allow.kind = Node::Kind::sequence;
  allow.items = {id};
  made.own["allow"] = allow;
  return make_plan(made);
}

// The models that lower under FSDP alone: all but the lone MoE block.
inline std::vector<std::string> lowering_models() {
  std::vector<std::string> names;
  for (const std::string& name : model_names()) {
    const Plan plan = plan_of(job(name, "v5p-16"));
    // A block alone has no layers, embedding or optimizer: it has tests of its own.
    if (!not_lowered(plan) && !plan.moe_block) names.push_back(name);
  }
  return names;
}

inline const Buffer& buffer_of(const StepProgram& program, BufferId id) {
  return program.buffers[static_cast<std::size_t>(id)];
}

}  // namespace meshsim::testing
