// Plans made from each other, beside plans made from nothing.
#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <string>

#include "plans/config_hash.hpp"
#include "sim/answer.hpp"
#include "sim/evaluation.hpp"
#include "studies/sweep/plan_variants.hpp"

using namespace meshsim;

namespace {

Change draw(std::mt19937& random) {
  Change change;
  // A key is changed or left as the base has it.
  const auto vary = [&](const char* key, std::initializer_list<const char*> choices) {
    const std::size_t which = random() % (choices.size() + 1);
    if (which < choices.size()) change.emplace_back(key, choices.begin()[which]);
  };
  vary("compile_topology", {"v5p-64", "v5p-128"});
  vary("ici_fsdp_parallelism", {"-1", "16"});
  vary("ici_expert_parallelism", {"1", "4", "8"});
  vary("per_device_batch_size", {"1", "2", "0.001"});
  vary("max_target_length", {"1024", "4096"});
  vary("remat_policy", {"full", "save_out_proj"});
  vary("num_vocab_tiling", {"1", "4"});
  vary("gradient_accumulation_steps", {"1", "2"});
  vary("weight_dtype", {"float32", "bfloat16"});
  vary("use_ring_of_experts", {"true", "false"});
  vary("model_name", {"mixtral-8x7b", "llama3.1-8b"});
  vary("scan_layers", {"true", "false"});
  vary("run_name", {"a", "[a, b]"});
  return change;
}

std::string first_fault(const Error& error) {
  const Diagnostic& fault = error.diagnostics().front();
  return fault.key + ": " + fault.what;
}

}  // namespace

TEST_CASE("a variant is the plan that is made from nothing", "[studies][plan_variants]") {
  PlanRequest base;
  base.assignments = {"compile_topology=v5p-64", "per_device_batch_size=1",
                      "max_target_length=2048",  "attention=dot_product",
                      "sharding_tolerance=1",    "allow_split_physical_axes=true"};
  SECTION("with a machine") {}
  SECTION("with a machine in some plans only") { base.assignments.erase(base.assignments.begin()); }
  SECTION("with meshes that do not lie on the torus") { base.assignments.pop_back(); }
  PlanVariants variants(base);
  std::mt19937 random(20261124);
  int plans = 0;
  for (int i = 0; i < 150; ++i) {
    const Change change = draw(random);
    INFO(change_text(change));
    std::optional<Plan> plan;
    std::string refusal;
    try {
      plan = make_plan(changed(base, change));
    } catch (const Error& error) {
      refusal = first_fault(error);
    }
    try {
      const PlanVariant variant = variants.make(change);
      INFO(refusal);
      REQUIRE(plan);
      CHECK(variant.hash == hash_of(plan->config));
      CHECK(hash_of(variant.plan->config) == hash_of(plan->config));
      CHECK(variant.plan->assumptions == plan->assumptions);
      CHECK(variant.plan->model == plan->model);
      for (std::size_t s = 0; s < plan->config.settings.size(); ++s) {
        if (variant.plan->config.settings[s].origin != plan->config.settings[s].origin)
          CHECK(plan->config.settings[s].key == "of the same origin");
      }
      if (i % 5 == 0) {
        CHECK(answer_of(evaluate(*variant.plan, Fidelity::closed_form)) ==
              answer_of(evaluate(*plan, Fidelity::closed_form)));
      }
      ++plans;
    } catch (const Error& error) {
      CHECK(first_fault(error) == refusal);
    }
  }
  CHECK(plans > 40);
}
