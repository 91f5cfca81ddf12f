// Random legal plans, walked all the way under both prefetches and both fidelities.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "cost_models/machine.hpp"
#include "sim/attribution.hpp"
#include "sim/closed_form.hpp"
#include "sim/critical_path.hpp"
#include "sim/evaluation.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

void check_memory(const StepProgram& program) {
  const MemoryPeak peak = memory_peak(program);
  Bytes categories;
  for (const auto& [name, bytes] : peak.categories) categories += bytes;
  CHECK(categories == peak.temp);
  Bytes highest;
  for (const MemoryPoint& point : live_memory(program)) highest = std::max(highest, point.temp);
  CHECK(highest == peak.temp);
}

void check_flops(const Plan& plan, const StepProgram& program) {
  const ModelFlops model = model_flops(op_groups(plan.model, {plan.training.sequence_length}));
  // Per device; sequences times accumulation steps.
  CHECK(program.model_flops == model.train * (plan.training.global_batch / plan.devices()));
}

void check_traffic(const StepProgram& program) {
  std::map<std::string, std::int64_t> counts;
  Bytes sent;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (const auto* work = std::get_if<Collective>(&leaf.work)) {
      CHECK(work->group > 1);
      CHECK(work->payload > Bytes(0));
      sent += work->sent() * times;
    }
  });
  Bytes reported;
  for (const CollectiveTraffic& one : traffic(program)) reported += one.sent;
  CHECK(reported == sent);
}

void check_time(const StepProgram& program, const Machine& machine, const Timeline& timeline) {
  Picoseconds sum;
  for (const TimePart& part : timeline.parts) sum += part.time;
  CHECK(sum == timeline.total);
  double compute = 0;
  double leaves = 0;
  ResourceTimes times{};
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t n) {
    const Price cost = price(leaf, machine);
    for (std::size_t r = 0; r < resource_count; ++r)
      times[r] += static_cast<double>(n) * cost.times[r];
    leaves += static_cast<double>(n);
    if (std::holds_alternative<Compute>(leaf.work))
      compute += static_cast<double>(n * cost.duration.value());
  });
  const double total = static_cast<double>(timeline.total.value()) + 4 * leaves;
  CHECK(total >= compute);
  for (const double time : times) CHECK(total >= time);
}

// Nothing of the step is left without a cause, nor outside its critical path.
void check_explained(const StepProgram& program, const Machine& machine, const Timeline& timeline) {
  Picoseconds causes;
  for (const Attribution& one : attribution(timeline)) causes += one.time;
  CHECK(causes == timeline.total);
  Picoseconds path;
  for (const PathOperation& one : critical_path(program, machine)) {
    CHECK(one.count > 0);
    CHECK(one.slowed >= Picoseconds(0));
    CHECK(one.slowed <= one.time);
    path += one.time;
  }
  CHECK(path == timeline.total);
}

void check_evaluation(const Evaluation& result) {
  REQUIRE(result.step);
  CHECK(result.peak() == result.state.arguments() + result.step->memory.temp);
  CHECK((result.verdict() == Verdict::fits) == (result.peak() <= result.hbm_usable()));
  CHECK(result.step->mfu > 0);
  CHECK(result.step->mfu < 1);
  CHECK(result.step->tokens_per_s_per_device > 0);
}

}  // namespace

TEST_CASE("random plans", "[sim][random]") {
  std::mt19937 random(20261122);
  const auto pick = [&](const std::vector<std::string>& choices) {
    return choices[random() % choices.size()];
  };
  const std::vector<std::string> models = lowering_models();
  std::set<std::string> seen;
  int legal = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string model = pick(models);
    Words words{"model_name=" + model,
                "compile_topology=" + pick({"v5p-8", "v5p-16", "v5p-32", "v5p-64", "v5p-128",
                                            "v5p-256", "v5p-512", "v6e-64", "v4-64"}),
                "ici_fsdp_parallelism=-1",
                "ici_expert_parallelism=" + pick({"1", "1", "2", "4", "8"}),
                "ici_data_parallelism=" + pick({"1", "1", "2", "4"}),
                "per_device_batch_size=" + pick({"1", "2", "3", "0.5"}),
                "max_target_length=" + pick({"256", "1024", "1536"}),
                "sparse_matmul=" + pick({"true", "true", "false"}),
                "use_ring_of_experts=" + pick({"false", "false", "true"}),
                "use_ragged_sort=" + pick({"false", "true"}),
                "remat_policy=" + pick({"full", "none", "minimal", "save_out_proj",
                                        "qkv_proj_offloaded", "minimal_offloaded", "custom"}),
                "decoder_layer_input=" + pick({"device", "offload"}),
                "out_proj=" + pick({"remat", "device", "offload"}),
                "num_vocab_tiling=" + pick({"1", "1", "4"}),
                "vocab_tiling_ag_once=" + pick({"true", "false"}),
                "compile_topology_num_slices=" + pick({"1", "1", "1", "2"}),
                "scan_layers=" + pick({"true", "true", "false"}),
                "gradient_accumulation_steps=" + pick({"1", "3"}),
                "shard_exp_on_fsdp=" + pick({"false", "false", "false", "true"}),
                "weight_dtype=" + pick({"float32", "bfloat16"}),
                "mtp_num_layers=" + pick({"0", "0", "1"}),
                "sharding_tolerance=1",
                "allow_split_physical_axes=true",
                "override_model_config=true"};
    if (pick({"flash", "dot_product"}) == "flash") {
      words.insert(words.end(), {"attention=flash", "use_tokamax_splash=true"});
    } else {
      words.push_back("attention=dot_product");
    }
    if (model.starts_with("deepseek2") || model.starts_with("deepseek3"))
      words.push_back(i % 2 == 0 ? "use_batch_split_schedule=false"
                                 : "use_batch_split_schedule=true");
    std::string command;
    for (const std::string& word : words) command += " " + word;
    INFO(command);
    try {
      const Plan plan = plan_of(words);
      const Evaluation result = evaluate(plan, Fidelity::closed_form);
      if (!result.step) continue;  // says why
      check_evaluation(result);
      const Machine machine = machine_of(plan);
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        const StepProgram program = lower(plan, prefetch);
        check_memory(program);
        check_flops(plan, program);
        check_traffic(program);
        const Timeline closed = closed_form(program, machine);
        const Timeline events = simulate_events(program, machine);
        check_time(program, machine, closed);
        check_time(program, machine, events);
        check_explained(program, machine, closed);
        check_explained(program, machine, events);
        CHECK(std::abs(events.total / closed.total - 1) < 1e-6);
      }
      seen.insert(model);
      ++legal;
    } catch (const Error& error) {
      INFO(error.what());
      CHECK(error.kind() == ErrorKind::invalid_input);
      for (const Diagnostic& fault : error.diagnostics()) CHECK(!fault.hint.empty());
    }
  }
  INFO(legal << " legal plans of " << seen.size() << " models");
  CHECK(legal > 100);
  CHECK(seen.size() > 25);
}
