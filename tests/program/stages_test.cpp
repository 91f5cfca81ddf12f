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
  CHECK(not_lowered(piped({"scan_layers=false"})) == "a pipeline of layers that are not scanned");
}

namespace {

// DeepSeek-V2-Lite, a dense and 26 MoE layers of D = 2048, on 64 chips: 2 stages x FSDP 32, two
// sequences of 2048 tokens a device; 4 microbatches are of one sequence each.
Plan piped_moe(Words more = {}) {
  Words words{"ici_pipeline_parallelism=2", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
              "num_pipeline_microbatches=4", "allow_split_physical_axes=true"};
  words.insert(words.end(), more.begin(), more.end());
  return plan_of(job("deepseek2-16b", "v5p-128", words));
}

// Forward runs of the layers of a kind, as often as their first product.
std::int64_t runs_of_kind(const StepProgram& program, const std::string& kind,
                          const std::string& op, bool idle_only = false) {
  std::int64_t sum = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (leaf.name == op && leaf.pass == Pass::forward && leaf.layer_kind == kind &&
        (leaf.idle || !idle_only))
      sum += times;
  });
  return sum;
}

FlopCount whole_step(const Plan& plan) {
  return model_flops(op_groups(plan.model, {2048})).train * plan.training.global_batch;
}

}  // namespace

TEST_CASE("MoE layers are pipelined, dense layers run before them on all devices",
          "[program][pipeline]") {
  struct Case {
    Words more;
    std::int64_t iterations, outside;  // outside: MoE layers
  };
  // 26 layers in 2 stages: M R + P - 1 iterations, 13 times round or once with 13 layers a stage;
  // 20 of them leave 6 outside.
  for (const Case& c :
       {Case{{}, 4 * 13 + 1, 0}, Case{{"pipeline_parallel_layers=20"}, 4 * 10 + 1, 6}}) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      INFO(c.iterations << " " << name(prefetch));
      const Plan plan = piped_moe(c.more);
      REQUIRE(!not_lowered(plan));
      const StepProgram program = lower(plan, prefetch);
      CHECK(runs_of_kind(program, "full/dense", "kv_a") == 1);
      CHECK(runs_of_kind(program, "full/moe", "kv_a") == c.iterations + c.outside);
      CHECK(runs_of_kind(program, "full/moe", "kv_a", true) == 1);
      CHECK(program.model_flops * plan.devices() == whole_step(plan));
      CHECK(sent(program, "pass_microbatch", Pass::forward) == c.iterations * 2048 * 2048 * 2);
      // A microbatch is one sequence; outside a device has two.
      CHECK(buffers_named(program, "block inputs").value() ==
            (c.iterations + 2 * c.outside) * 2048 * 2048 * 2);
      // 6 slots a token, over all stages' layers.
      CHECK(program.routed_slots == 26 * 128 / 32 * 2048 * 6);
    }
  }
  // Every stage has half of the pipelined layers' parameters, and all of the others.
  const auto gradients = [](const StepProgram& program, const std::string& kind) {
    Bytes sum;
    for (const Buffer& buffer : program.buffers) {
      if (buffer.category == "gradients" && buffer.name.starts_with(kind)) sum += buffer.bytes;
    }
    return sum;
  };
  const StepProgram all = lower(piped_moe(), Prefetch::layer);
  const StepProgram some = lower(piped_moe({"pipeline_parallel_layers=20"}), Prefetch::layer);
  CHECK(gradients(all, "full/moe").value() > 0);
  CHECK(gradients(all, "full/moe").value() / 13 == gradients(some, "full/moe").value() / 16);
  CHECK(gradients(all, "full/dense") == gradients(some, "full/dense"));
}

TEST_CASE("unbalanced routing reaches the layers of a pipeline, not those outside",
          "[program][pipeline]") {
  for (const bool all : {true, false}) {
    Plan plan = piped_moe(all ? Words{} : Words{"pipeline_parallel_layers=20"});
    plan.routing.law.kind = RoutingLaw::Kind::lognormal;
    plan.routing.law.sigma = 0.5;
    const std::optional<std::string> missing = not_lowered(plan);
    CHECK(missing.has_value() == !all);
    if (missing) CHECK(*missing == "unbalanced routing of layers outside of a pipeline");
  }
}

TEST_CASE("the rest of a partly pipelined decoder runs after the pipeline", "[program][pipeline]") {
  const Plan plan = piped({"pipeline_parallel_layers=16"});
  const StepProgram program = lower(plan, Prefetch::layer);
  // 16 of 32 layers on 4 stages: 4 times round, 8 x 4 + 3 iterations of one sequence; 16 layers of
  // two sequences.
  CHECK(runs(program, "query", Pass::forward) == 35 + 16);
  CHECK(program.model_flops * plan.devices() == whole_step(plan));
  CHECK(buffers_named(program, "block inputs").value() == (35 + 2 * 16) * stream);
  // The last query of the forward pass is of the layers outside: nothing is passed on after it.
  std::string last;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    if (leaf.pass == Pass::forward && (leaf.name == "query" || leaf.name == "pass_microbatch"))
      last = leaf.name;
  });
  CHECK(last == "query");
}

TEST_CASE("pairs of V4's layers in a pipeline are a what-if", "[program][pipeline]") {
  Words words = job("deepseek4-284b", "v5p-512",
                    {"ici_pipeline_parallelism=4", "ici_fsdp_parallelism=-1",
                     "num_layers_per_pipeline_stage=2", "allow_split_physical_axes=true"});
  CHECK_THROWS_AS(plan_of(words), Error);
  const Plan plan = hypothetical_plan(words, "pipeline-kinds");
  CHECK(plan.hypothetical());
  REQUIRE(!not_lowered(plan));
  const StepProgram program = lower(plan, Prefetch::layer);
  // 40 of 43 layers in pairs on 4 stages: 5 times round, 4 microbatches of a sequence, 23
  // iterations; the three hash layers (two with a window only, one CSA) run before.
  CHECK(runs_of_kind(program, "hca/moe", "q_a") == 23);
  CHECK(runs_of_kind(program, "csa/moe", "q_a") == 23);
  CHECK(program.model_flops * plan.devices() == whole_step(plan));
  // Four streams of a microbatch are passed on.
  CHECK(sent(program, "pass_microbatch", Pass::forward) == 23 * 4 * 2048 * 4096 * 2);
}

TEST_CASE("prediction blocks run after a pipeline", "[program][pipeline]") {
  const Plan plan = plan_of(job("deepseek3-671b", "v5p-512",
                                {"ici_pipeline_parallelism=2", "ici_fsdp_parallelism=-1",
                                 "mtp_num_layers=1", "allow_split_physical_axes=true"}));
  REQUIRE(!not_lowered(plan));
  const StepProgram program = lower(plan, Prefetch::layer);
  CHECK(program.model_flops * plan.devices() == whole_step(plan));
  CHECK(runs_of_kind(program, "mtp", "projection") == 1);
}

TEST_CASE("a pipeline that gathers its weights ahead does so once, or once a repeat",
          "[program][pipeline]") {
  // 8 of 32 layers on each of 4 stages, gathered over FSDP 16 as they rest, in fp32.
  const Plan plan = piped();
  std::int64_t layer = 0;
  for (const Tensor& tensor : plan_layer_tensors(plan, plan.model.kinds.front())) {
    for (const auto& axes : plan.rules.resolve(tensor.axes)) {
      if (!axes.empty()) layer += tensor.elements() * 4;
    }
  }
  const auto of_layers = [](const StepProgram& program, const std::string& name, Pass pass) {
    std::int64_t bytes = 0;
    for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
      const auto* work = std::get_if<Collective>(&leaf.work);
      if (work != nullptr && leaf.name == name && leaf.pass == pass && leaf.layer_kind != "global")
        bytes += work->payload.value() * times;
    });
    return bytes;
  };
  // Without, each of 67 iterations gathers in bf16, twice, and scatters gradients in fp32.
  const StepProgram each = lower(plan, Prefetch::layer);
  CHECK(of_layers(each, "gather_weights", Pass::forward) == 67 * layer / 2);
  CHECK(of_layers(each, "scatter_gradients", Pass::backward) == 67 * layer);
  for (const bool once : {true, false}) {
    INFO(once);
    const Plan ahead =
        piped({once ? "pipeline_fsdp_ag_once=true" : "pipeline_fsdp_ag_per_repeat=true"});
    REQUIRE(!not_lowered(ahead));
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const StepProgram program = lower(ahead, prefetch);
      CHECK(of_layers(program, "gather_weights", Pass::forward) == 8 * layer);
      CHECK(of_layers(program, "gather_weights", Pass::backward) == (once ? 0 : 8 * layer));
      CHECK(of_layers(program, "scatter_gradients", Pass::backward) == 8 * layer);
      // All of them, or those of two repeats, are there during the iterations; so are gradients.
      const std::int64_t sets = once ? 8 : 2 * 2;
      CHECK(buffers_named(program, "weights gathered ahead").value() == sets * layer);
      // Unpadded; norms are not gathered, but their gradients are kept beside.
      CHECK(static_cast<double>(buffers_named(program, "whole gradients").value()) ==
            Approx(static_cast<double>((once ? 8 : 2) * layer)).epsilon(0.001));
      CHECK(program.model_flops * ahead.devices() == whole_step(ahead));
      CHECK(memory_peak(program).temp > memory_peak(each).temp);
      // Weights on the host are fetched for each of these gathers.
      const StepProgram hosted =
          lower(piped({once ? "pipeline_fsdp_ag_once=true" : "pipeline_fsdp_ag_per_repeat=true",
                       "parameter_memory_host_offload=true"}),
                prefetch);
      CHECK(runs(hosted, "fetch_weights", Pass::forward) == 8);
      CHECK(runs(hosted, "fetch_weights", Pass::backward) == (once ? 0 : 8));
    }
  }
}
