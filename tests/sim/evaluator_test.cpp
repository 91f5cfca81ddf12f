// An Evaluator, which remembers, beside the walk that remembers nothing.
#include <catch2/catch.hpp>
#include <optional>
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
  Words words{"model_name=deepseek4-284b",
              "attention=" + pick({"dot_product", "flash"}),
              "use_tokamax_splash=true",
              "compile_topology=" + pick({"v5p-256", "v5p-512"}),
              "compile_topology_num_slices=" + pick({"1", "1", "2"}),
              "ici_fsdp_parallelism=-1",
              "ici_data_parallelism=" + pick({"1", "1", "2"}),
              "ici_expert_parallelism=" + pick({"1", "4", "8", "64"}),
              "per_device_batch_size=" + pick({"1", "2"}),
              "max_target_length=" + pick({"1024", "4096"}),
              "remat_policy=" +
                  pick({"full", "minimal_with_context", "save_out_proj", "minimal_offloaded"}),
              "num_vocab_tiling=" + pick({"1", "4", "8"}),
              "vocab_tiling_ag_once=" + pick({"true", "false"}),
              "gradient_accumulation_steps=" + pick({"1", "2", "4"}),
              "gradient_clipping_threshold=" + pick({"0", "1"}),
              "weight_dtype=" + pick({"float32", "bfloat16"}),
              "mu_dtype=" + pick({"", "bfloat16"}),
              "opt_type=" + pick({"adamw", "sgd"}),
              "optimizer_memory_host_offload=" + pick({"false", "true"}),
              "parameter_memory_host_offload=" + pick({"false", "false", "true"}),
              "allow_split_physical_axes=true",
              "sharding_tolerance=1"};
  const std::string experts = pick({"", "", "use_ring_of_experts=true", "use_ragged_sort=true"});
  if (!experts.empty()) words.push_back(experts);
  return words;
}

// A job of any model that can be lowered.
Words other_job(std::mt19937& random, const std::vector<std::string>& models) {
  const auto pick = [&](std::initializer_list<const char*> choices) {
    return std::string(choices.begin()[random() % choices.size()]);
  };
  return job(models[random() % models.size()], pick({"v5p-16", "v5p-64"}),
             {"ici_fsdp_parallelism=-1", "ici_expert_parallelism=" + pick({"1", "2"}),
              "ici_tensor_parallelism=" + pick({"1", "1", "2"}),
              "scan_layers=" + pick({"true", "true", "false"}),
              "remat_policy=" + pick({"full", "none", "minimal", "custom"}),
              "decoder_layer_input=" + pick({"device", "offload"}),
              "mtp_num_layers=" + pick({"0", "1"}), "num_vocab_tiling=" + pick({"1", "2", "4"}),
              "gradient_accumulation_steps=" + pick({"1", "3"}),
              "use_ring_of_experts=" + pick({"false", "false", "true"}),
              "num_moe_token_chunks=" + pick({"1", "1", "2"})});
}

// What the evaluator says or throws, beside what the long way does. Whether the step has a time.
bool check_plan(Evaluator& evaluator, Fidelity fidelity, const Words& words) {
  std::string command;
  for (const std::string& word : words) command += " " + word;
  INFO(command);
  std::optional<Plan> plan;
  try {
    plan = plan_of(words);
  } catch (const Error&) {
    return false;  // no plan to evaluate
  }
  std::optional<Answer> expected;
  std::string refusal;
  try {
    expected = answer_of(evaluate(*plan, fidelity));
  } catch (const Error& error) {
    refusal = error.what();
  }
  try {
    const Answer answer = evaluator.evaluate(*plan);
    REQUIRE(expected);
    CHECK(answer == *expected);
    check_sums(answer);
    return answer.timed;
  } catch (const Error& error) {
    CHECK(error.what() == refusal);
    return false;
  }
}

}  // namespace

TEST_CASE("an evaluator gives what a walk from nothing gives", "[sim][evaluator]") {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    std::mt19937 random(20261121);
    Evaluator evaluator(fidelity);
    int timed = 0;
    for (int i = 0; i < (fidelity == Fidelity::event ? 30 : 200); ++i)
      timed += check_plan(evaluator, fidelity, neighbour(random)) ? 1 : 0;
    CHECK(timed > 12);
  }
}

TEST_CASE("an evaluator meets pipelines, tensor degrees and kernels on two FSDP axes",
          "[sim][evaluator]") {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    std::mt19937 random(20261121);
    const auto pick = [&](std::initializer_list<const char*> choices) {
      return std::string(choices.begin()[random() % choices.size()]);
    };
    Evaluator evaluator(fidelity);
    int timed = 0;
    for (int i = 0; i < (fidelity == Fidelity::event ? 40 : 200); ++i) {
      Words words = job(
          pick({"deepseek2-16b", "deepseek2-16b", "llama3.1-8b", "deepseek4-284b"}), "v5p-32",
          {"ici_fsdp_parallelism=-1",
           "ici_pipeline_parallelism=" + pick({"1", "2", "2"}),
           "pipeline_parallel_layers=" + pick({"-1", "-1", "20", "16"}),
           "num_layers_per_pipeline_stage=" + pick({"1", "1", "2"}),
           "num_pipeline_microbatches=" + pick({"-1", "4"}),
           "pipeline_fsdp_ag_once=" + pick({"false", "false", "true"}),
           "pipeline_fsdp_ag_per_repeat=" + pick({"false", "false", "true"}),
           "ici_expert_parallelism=" + pick({"1", "2"}),
           "ici_tensor_parallelism=" + pick({"1", "1", "2"}),
           "ici_fsdp_transpose_parallelism=" + pick({"1", "2"}),
           "use_2d_fsdp_sharding=" + pick({"false", "true"}),
           "quantization=" + pick({"", "int8", "fp8_full"}),
           "sparse_matmul=" + pick({"true", "true", "false"}),
           "capacity_factor=1.25",
           "per_device_batch_size=" + pick({"2", "4"}),
           "remat_policy=" + pick({"full", "none"}),
           "mtp_num_layers=" + pick({"0", "1"}),
           "scan_layers=" + pick({"true", "true", "false"}),
           "logical_axis_rules=[[kv_heads, " + pick({"null", "[tensor, tensor_sequence]"}) + "]]",
           "allow_split_physical_axes=true"});
      timed += check_plan(evaluator, fidelity, words) ? 1 : 0;
    }
    CHECK(timed > 8);
  }
}

TEST_CASE("an evaluator meets the batch-split schedule between others", "[sim][evaluator]") {
  for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
    std::mt19937 random(20261121);
    const auto pick = [&](std::initializer_list<const char*> choices) {
      return std::string(choices.begin()[random() % choices.size()]);
    };
    Evaluator evaluator(fidelity);
    int timed = 0;
    for (int i = 0; i < (fidelity == Fidelity::event ? 40 : 150); ++i) {
      const Words words =
          job("deepseek2-16b", pick({"v5p-32", "v5p-64"}),
              {"ici_fsdp_parallelism=-1", "ici_expert_parallelism=" + pick({"1", "2", "4"}),
               "per_device_batch_size=" + pick({"1", "2", "3", "4"}),
               "gradient_accumulation_steps=" + pick({"1", "2"}),
               "use_batch_split_schedule=" + pick({"false", "true", "true"}),
               "use_ragged_sort=" + pick({"false", "true"}),
               "scan_layers=" + pick({"true", "true", "false"}),
               "remat_policy=" + pick({"full", "none"}), "mtp_num_layers=" + pick({"0", "1"}),
               "capacity_factor=" + pick({"-1", "-1", "1.25"}),
               "sparse_matmul=" + pick({"true", "true", "false"}),
               "compile_topology_num_slices=" + pick({"1", "1", "2"})});
      timed += check_plan(evaluator, fidelity, words) ? 1 : 0;
    }
    CHECK(timed > 10);
  }
}

TEST_CASE("one evaluator for all models, each met again and again", "[sim][evaluator]") {
  std::mt19937 random(20261123);
  const std::vector<std::string> models = lowering_models();
  Evaluator evaluator;
  int timed = 0;
  for (int i = 0; i < 200; ++i)
    timed += check_plan(evaluator, Fidelity::closed_form, other_job(random, models)) ? 1 : 0;
  CHECK(timed > 80);
}
