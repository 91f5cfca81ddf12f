// What neighbouring plans share: a sweep of DeepSeek-V4-Flash over FSDP x EP, each plan made and
// evaluated, beside the same plans made and evaluated from nothing; and once more, when all that
// they share is known. All in one run, in CPU time of one thread.
#include <fmt/format.h>

#include <ctime>
#include <string>
#include <vector>

#include "sim/evaluator.hpp"
#include "studies/sweep/plan_variants.hpp"

namespace {

using meshsim::Change;

std::vector<Change> space() {
  std::vector<Change> all{{}};
  const auto vary = [&](const char* key, std::initializer_list<const char*> values) {
    std::vector<Change> longer;
    for (const Change& change : all) {
      for (const char* value : values) {
        longer.push_back(change);
        longer.back().emplace_back(key, value);
      }
    }
    all = std::move(longer);
  };
  vary("compile_topology", {"v5p-128", "v5p-256", "v5p-512", "v5p-1024", "v5p-2048"});
  vary("ici_expert_parallelism", {"1", "2", "4", "8", "16"});
  vary("per_device_batch_size", {"1", "2", "4", "8"});
  vary("max_target_length", {"1024", "2048", "4096"});
  vary("num_vocab_tiling", {"1", "2", "4", "8"});
  vary("gradient_accumulation_steps", {"1", "2", "4", "8"});
  vary("weight_dtype", {"float32", "bfloat16"});
  vary("opt_type", {"adamw", "sgd"});
  vary("optimizer_memory_host_offload", {"false", "true"});
  return all;
}

double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main() {
  meshsim::PlanRequest base;
  base.assignments = {"model_name=deepseek4-284b", "attention=flash",
                      "use_tokamax_splash=true",   "sharding_tolerance=1",
                      "ici_fsdp_parallelism=-1",   "allow_split_physical_axes=true"};
  const std::vector<Change> changes = space();
  meshsim::PlanVariants plans(base);
  meshsim::Evaluator evaluator;
  std::clock_t start = std::clock();
  for (const Change& change : changes) evaluator.evaluate(*plans.make(change).plan);
  const double shared = static_cast<double>(changes.size()) / seconds_since(start);
  start = std::clock();
  for (const Change& change : changes) evaluator.evaluate(*plans.make(change).plan);
  const double again = static_cast<double>(changes.size()) / seconds_since(start);
  start = std::clock();
  for (const Change& change : changes) plans.make(change);
  const double made = static_cast<double>(changes.size()) / seconds_since(start);
  start = std::clock();
  std::size_t walked = 0;
  for (; walked < changes.size() && seconds_since(start) < 2; ++walked) {
    // Spread over the space.
    const Change& change = changes[walked * 4099 % changes.size()];
    meshsim::evaluate(meshsim::make_plan(meshsim::changed(base, change)),
                      meshsim::Fidelity::closed_form);
  }
  const double alone = static_cast<double>(walked) / seconds_since(start);
  fmt::print(
      "{} plans, plans per second of one core: {:.0f} (once more: {:.0f}; made only: {:.0f}); from "
      "nothing {:.0f}; ratio {:.0f} (once more: {:.0f})\n",
      changes.size(), shared, again, made, alone, shared / alone, again / alone);
}
