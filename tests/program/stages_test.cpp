// Pipelines: iterations and the bubble, what stages send in closed form, and what must not change.
#include <catch2/catch.hpp>
#include <map>

#include "plans/pipeline.hpp"
#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Llama 3.1 8B, 32 layers of D = 4096, on 64 chips: 4 stages x FSDP 16, two sequences of 2048
// tokens a device, so that 8 microbatches are of one sequence each.
Plan piped(Words more = {}) {
  Words words{"ici_pipeline_parallelism=4", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
              "num_pipeline_microbatches=8"};
  for (std::string& word : more) {
    const std::string key = word.substr(0, word.find('=') + 1);
    std::erase_if(words, [&](const std::string& old) { return old.starts_with(key); });
    words.push_back(std::move(word));
  }
  return plan_of(job("llama3.1-8b", "v5p-128", words));
}

// How often leaves of this name run in `pass`, or only those on no microbatch.
std::int64_t runs(const StepProgram& program, const std::string& name, Pass pass,
                  bool idle_only = false) {
  std::int64_t sum = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (leaf.name == name && leaf.pass == pass && leaf.layer_kind != "global" &&
        (leaf.idle || !idle_only))
      sum += times;
  });
  return sum;
}

std::int64_t sent(const StepProgram& program, const std::string& name, Pass pass) {
  std::int64_t bytes = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work != nullptr && leaf.name == name && leaf.pass == pass)
      bytes += work->sent().value() * times;
  });
  return bytes;
}

Bytes buffers_named(const StepProgram& program, const std::string& part) {
  Bytes sum;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.name.find(part) != std::string::npos) sum += buffer.bytes;
  }
  return sum;
}

constexpr std::int64_t stream = 2048 * 4096 * 2;  // a microbatch of one sequence, bfloat16

}  // namespace

TEST_CASE("the schedule: defaults and iterations", "[program][pipeline]") {
  // 32 layers on 4 stages of one: 8 times round; 4 microbatches unless told.
  const PipelineSchedule open = pipeline_schedule(plan_of(
      job("llama3.1-8b", "v5p-128", {"ici_pipeline_parallelism=4", "ici_fsdp_parallelism=16"})));
  CHECK(open.repeats == 8);
  CHECK(open.microbatches == 4);
  CHECK(open.iterations() == 4 * 8 + 3);
  CHECK(!open.waits());  // it enters again as soon as it has come round
  const PipelineSchedule late =
      pipeline_schedule(piped({"pipeline_delay_activation_forwarding=true"}));
  CHECK(late.iterations() == 8 * 8 + 2 * 3);
  CHECK(pipeline_schedule(plan_of(job("llama3.1-8b", "v5p-128"))).iterations() == 1);
}

TEST_CASE("every stage runs M R + d (P - 1) iterations, d (P - 1) of them on nothing",
          "[program][pipeline]") {
  struct Case {
    Words more;
    std::int64_t busy, idle, layers;  // iterations; layers in each
  };
  const std::vector<Case> cases{{{}, 64, 3, 1},
                                {{"num_layers_per_pipeline_stage=2"}, 32, 3, 2},
                                {{"num_layers_per_pipeline_stage=8"}, 8, 3, 8},
                                {{"pipeline_delay_activation_forwarding=true"}, 64, 6, 1},
                                {{"num_pipeline_microbatches=4"}, 32, 3, 1}};
  for (const Case& c : cases) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      INFO((c.more.empty() ? "" : c.more.front()) << " " << name(prefetch));
      const Plan plan = piped(c.more);
      REQUIRE(!not_lowered(plan));
      const StepProgram program = lower(plan, prefetch);
      for (const auto& [op, pass] : {std::pair{"query", Pass::forward},
                                     {"query_dx", Pass::backward},
                                     {"query", Pass::recompute}}) {
        CHECK(runs(program, op, pass) == (c.busy + c.idle) * c.layers);
        CHECK(runs(program, op, pass, true) == c.idle * c.layers);
      }
      // The mathematics is the model's: 128 sequences.
      CHECK(program.model_flops * plan.devices() ==
            model_flops(op_groups(plan.model, {2048})).train * 128);
      CHECK(program.tokens == 2 * 2048);
    }
  }
}

TEST_CASE("what stages pass on, in closed form", "[program][pipeline]") {
  const StepProgram program = lower(piped(), Prefetch::layer);
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    // After each of 67 iterations a microbatch, and one of the batch's inputs and outputs; 8
    // microbatches on 4 stages: one that has come round waits for its turn.
    CHECK(sent(program, "pass_microbatch", pass) == 67 * stream);
    CHECK(sent(program, "pass_batch", pass) == 67 * stream);
    CHECK(sent(program, "pass_waiting", pass) == 67 * stream);
  }
  // Once round: nothing waits. 8 layers a stage, 11 iterations.
  const StepProgram once = lower(piped({"num_layers_per_pipeline_stage=8"}), Prefetch::layer);
  CHECK(sent(once, "pass_microbatch", Pass::forward) == 11 * stream);
  CHECK(sent(once, "pass_waiting", Pass::forward) == 0);
  // Tensor parallelism splits the streams that are passed on, too: 4 stages x tensor 4, FSDP 4 has
  // microbatches of four sequences.
  const StepProgram split = lower(piped({"ici_tensor_parallelism=4"}), Prefetch::layer);
  CHECK(sent(split, "pass_microbatch", Pass::forward) == 67 * 4 * stream / 4);
}

TEST_CASE("a stage keeps the input of every iteration and the weights of its layers",
          "[program][pipeline]") {
  const StepProgram program = lower(piped(), Prefetch::layer);
  CHECK(buffers_named(program, "block inputs").value() == 67 * stream);
  CHECK(buffers_named(program, "waiting microbatches").value() == 2 * 8 * stream);
  // In place of 4-fold data parallelism, 8 of the 32 layers' gradients.
  const StepProgram whole = lower(plan_of(job("llama3.1-8b", "v5p-128",
                                              {"ici_data_parallelism=4", "ici_fsdp_parallelism=16",
                                               "per_device_batch_size=2"})),
                                  Prefetch::layer);
  const auto layers = [](const StepProgram& p) {
    Bytes sum;
    for (const Buffer& buffer : p.buffers) {
      if (buffer.category == "gradients" && buffer.name.find("head") == std::string::npos &&
          buffer.name.find("embedding") == std::string::npos)
        sum += buffer.bytes;
    }
    return sum;
  };
  CHECK(layers(program).value() > 0);
  CHECK(layers(program) * 4 == layers(whole));
}

TEST_CASE("gradients of a stage are scattered in each iteration and summed once",
          "[program][pipeline]") {
  const StepProgram program =
      lower(piped({"ici_data_parallelism=2", "ici_fsdp_parallelism=8", "per_device_batch_size=2",
                   "allow_split_physical_axes=true"}),
            Prefetch::layer);
  CHECK(runs(program, "scatter_gradients", Pass::backward) == 67);
  // Of its 8 layers: kernels over data, and the scales of norms, which FSDP does not split, over
  // data and fsdp.
  CHECK(runs(program, "reduce_gradients", Pass::backward) == 8 * 2);
}

TEST_CASE("what a pipeline is not lowered for says so", "[program][pipeline]") {
  CHECK(not_lowered(piped({"pipeline_fsdp_ag_once=true"})) ==
        "weights that a pipeline gathers ahead of its iterations");
  CHECK(not_lowered(piped({"pipeline_parallel_layers=16"})) ==
        "a pipeline of a part of the layers");
  CHECK(not_lowered(piped({"scan_layers=false"})) ==
        "a pipeline of layers of several kinds, or of layers that are not scanned");
}
