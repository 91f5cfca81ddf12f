// The FLOPs of a program against the model's own: mathematics, whatever kernel and path run it.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "program/local_shapes.hpp"
#include "program/outer_templates.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

void check_flops(const Words& words) {
  std::string command;
  for (const std::string& word : words) command += " " + word;
  INFO(command);
  const Plan plan = plan_of(words);
  REQUIRE(!not_lowered(plan));
  const std::int64_t S = plan.training.sequence_length;
  const ModelFlops model = model_flops(op_groups(plan.model, {S}));
  const std::int64_t sequences = plan.training.global_batch / plan.devices();
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram program = lower(plan, prefetch);
    CHECK(flops(program, Pass::forward) == model.forward * sequences);
    CHECK(flops(program, Pass::backward) == (model.train - model.forward) * sequences);
    CHECK(program.model_flops == model.train * sequences);
    CHECK(program.tokens == S * sequences);
  }
}

// The forward operations of `layer` that a rematerialised layer does not repeat.
std::set<std::string> dead(const LayerTemplate& layer, bool output) {
  std::set<std::string> names;
  const auto keep = recomputation(layer, {}, output);
  for (std::size_t s = 0; s < layer.stages.size(); ++s) {
    const Stage& stage = layer.stages[s];
    for (std::size_t i = 0; i < stage.forward.size(); ++i) {
      if (!keep[s][i]) names.insert(stage.forward[i].name);
    }
    for (std::size_t i = 0; i < stage.forward_beside.size(); ++i) {
      if (!keep[s][stage.forward.size() + i]) names.insert(stage.forward_beside[i].name);
    }
  }
  return names;
}

std::set<std::string> dead(const Words& words, const std::string& tag) {
  const Plan plan = plan_of(words);
  for (const LayerKind& kind : plan.model.kinds) {
    if (attention_tag(kind) + "/" + mlp_tag(kind) == tag)
      return dead(layer_template(plan, kind, local_batch(plan)), false);
  }
  FAIL("no layer " + tag);
  return {};
}

using Set = std::set<std::string>;

}  // namespace

TEST_CASE("forward and backward FLOPs are the model's, whatever runs them", "[program][flops]") {
  for (const std::string& model : lowering_models()) {
    check_flops(job(model, "v5p-16"));
    check_flops(job(model, "v5p-16",
                    {"attention=flash", "use_tokamax_splash=true", "per_device_batch_size=3",
                     "max_target_length=1536", "remat_policy=none"}));
    check_flops(job(model, "v5p-16", {"scan_layers=false", "gradient_accumulation_steps=3"}));
    const Plan plan = plan_of(job(model, "v5p-16"));
    if (!plan.model.has_experts()) continue;
    const bool gpt_oss = plan.model.config.decoder_block == "gpt_oss";
    if (!gpt_oss) check_flops(job(model, "v5p-16", {"sparse_matmul=false"}));
    const Words ep{"ici_expert_parallelism=2", "ici_fsdp_parallelism=-1"};
    check_flops(job(model, "v5p-16", ep));
    if (plan.model.is_deepseek4()) continue;  // no ring with hash layers
    check_flops(job(model, "v5p-16", {ep[0], ep[1], "use_ring_of_experts=true"}));
  }
}

TEST_CASE("a rematerialised layer repeats its forward pass, less what is dead",
          "[program][flops]") {
  for (const std::string& model : lowering_models()) {
    INFO(model);
    const Plan plan = plan_of(job(model, "v5p-16"));
    const LocalBatch batch = local_batch(plan);
    FlopCount expected;
    for (const Segment& segment : plan.layout.segments) {
      if (plan.model.is_deepseek4() && !segment.scanned) continue;  // not rematerialised
      for (std::size_t j = 0; j < segment.block; ++j) {
        const LayerTemplate layer =
            layer_template(plan, plan.model.layer(segment.first + j), batch);
        const auto keep = recomputation(layer, {}, j + 1 < segment.block);
        for (std::size_t s = 0; s < layer.stages.size(); ++s) {
          for (std::size_t i = 0; i < layer.stages[s].forward.size(); ++i) {
            const auto& work = std::get<Compute>(layer.stages[s].forward[i].work);
            if (keep[s][i])
              expected += work.model_flops * static_cast<std::int64_t>(segment.repeats);
          }
        }
      }
    }
    CHECK(expected.value() > 0);
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel})
      CHECK(flops(lower(plan, prefetch), Pass::recompute) == expected);
  }
}

TEST_CASE("what is dead code in the recomputation of a layer, and why", "[program][flops]") {
  // The gradient of a sum needs neither its terms nor its result: x_mid + mlp(x) is not formed
  // again, nor the product that ends the MLP.
  CHECK(dead(job("llama3.1-8b", "v5p-16"), "full/dense") == Set{"mlp_down", "mlp_residual"});
  // The sum over a token's experts likewise. Its backward reads the rows that it sums (the gradient
  // of the routing weights), so that the experts' last product runs again. The shared expert's does
  // not.
  CHECK(dead(job("mixtral-8x7b", "v5p-16"), "full/moe") == Set{"fan_in", "mlp_residual"});
  CHECK(dead(job("deepseek3-671b", "v5p-128", {"mtp_num_layers=0"}), "full/moe") ==
        Set{"fan_in", "shared_down", "mlp_residual"});
  // Hyper-connections: the mix is dead, but the gradients of its coefficients read the block's
  // outputs, so that all else runs again, the indexer (behind its mask) included.
  CHECK(dead(job("deepseek4-284b", "v5p-16"), "csa/moe") == Set{"mix"});
  CHECK(dead(job("deepseek4-284b", "v5p-16", {"attention=flash", "use_tokamax_splash=true"}),
             "hca/moe") == Set{"mix"});
  // A layer inside a block of several also hands its output on: nothing is dead.
  const Plan plan = plan_of(job("deepseek4-284b", "v5p-16"));
  for (const LayerKind& kind : plan.model.kinds)
    CHECK(dead(layer_template(plan, kind, local_batch(plan)), true).empty());
  // Ring of experts: the sums are scattered to their tokens in vain.
  CHECK(
      dead(job("mixtral-8x7b", "v5p-16",
               {"ici_expert_parallelism=2", "ici_fsdp_parallelism=-1", "use_ring_of_experts=true"}),
           "full/moe") == Set{"fan_in", "reduce_outputs", "mlp_residual"});
}
