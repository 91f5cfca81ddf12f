// An Evaluator, which remembers, beside the walk that remembers nothing.
#include <catch2/catch.hpp>
#include <random>

#include "sim/evaluator.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

void check_sums(const Answer& answer) {
  Bytes memory;
  for (const auto& [category, bytes] : answer.memory) memory += bytes;
  CHECK(memory == answer.peak());
  Picoseconds time;
  for (const auto& [cause, part] : answer.time) time += part;
  CHECK(time == answer.step_time);
  CHECK(answer.timed == (answer.step_time > Picoseconds(0)));
}

// A neighbour of V4-Flash on a v5p slice: one draw from each axis that a sweep varies.
Words neighbour(std::mt19937& random) {
  const auto pick = [&](std::initializer_list<const char*> choices) {
    return std::string(choices.begin()[random() % choices.size()]);
  };
  return {"model_name=deepseek4-284b",
          "attention=" + pick({"dot_product", "flash"}),
          "use_tokamax_splash=true",
          "compile_topology=" + pick({"v5p-256", "v5p-512"}),
          "ici_fsdp_parallelism=-1",
          "ici_expert_parallelism=" + pick({"1", "4", "8", "64"}),
          "per_device_batch_size=" + pick({"1", "2"}),
          "max_target_length=" + pick({"1024", "4096"}),
          "remat_policy=" +
              pick({"full", "minimal_with_context", "save_out_proj", "minimal_offloaded"}),
          "num_vocab_tiling=" + pick({"1", "4"}),
          "gradient_accumulation_steps=" + pick({"1", "2", "4"}),
          "weight_dtype=" + pick({"float32", "bfloat16"}),
          "opt_type=" + pick({"adamw", "sgd"}),
          "optimizer_memory_host_offload=" + pick({"false", "true"}),
          "allow_split_physical_axes=true",
          "sharding_tolerance=1"};
}

}  // namespace

TEST_CASE("an evaluator gives what a walk from nothing gives", "[sim][evaluator]") {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    std::mt19937 random(20261121);
    Evaluator evaluator(fidelity);
    int timed = 0;
    for (int i = 0; i < (fidelity == Fidelity::event ? 30 : 120); ++i) {
      const Words words = neighbour(random);
      std::string command;
      for (const std::string& word : words) command += " " + word;
      INFO(command);
      const Plan plan = plan_of(words);
      const Answer answer = evaluator.evaluate(plan);
      CHECK(answer == answer_of(evaluate(plan, fidelity)));
      check_sums(answer);
      timed += answer.timed ? 1 : 0;
    }
    CHECK(timed > 20);
  }
}
