// What a step hangs on: nothing that it uses is left out, nothing that it does not use counts, and
// a faster machine is never slower.
#include "studies/sensitivity.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>

#include "studies/neighbours.hpp"

using namespace meshsim;

namespace {

Plan plan_of(std::vector<std::string> words) {
  PlanRequest request;
  request.assignments = std::move(words);
  return make_plan(request);
}

// Plans that use every number among them: experts and attention kernels, DCN, PCIe, SparseCores.
std::vector<Plan> plans() {
  std::vector<Plan> all;
  all.push_back(
      plan_of({"model_name=deepseek4-284b", "compile_topology=v5p-512", "per_device_batch_size=1",
               "max_target_length=4096", "attention=dot_product", "ici_fsdp_parallelism=32",
               "ici_expert_parallelism=8"}));
  all.push_back(
      plan_of({"model_name=mixtral-8x7b", "compile_topology=v5p-64",
               "compile_topology_num_slices=2", "dcn_data_parallelism=2", "per_device_batch_size=2",
               "attention=flash", "use_tokamax_splash=true", "use_custom_sort_vjp=false"}));
  all.push_back(
      plan_of({"model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=2",
               "attention=flash", "use_tokamax_splash=true", "remat_policy=minimal_offloaded"}));
  return all;
}

bool is_time(const Sensitivity& one) {
  return one.name == "ici_hop_latency" || one.name == "attention_grid_step" ||
         one.name == "sort_step" || one.name == "softmax_ops" || one.name == "offloaded_transfer";
}

}  // namespace

TEST_CASE("with more of a rate no step is longer, with more of a time none is shorter",
          "[studies][sensitivity]") {
  // 1.5 of a rate against 0.5 of it is three times as much.
  for (const Plan& plan : plans()) {
    for (const Fidelity fidelity : {Fidelity::closed_form, Fidelity::event}) {
      const Sensitivities found = sensitivities(evaluate(plan, fidelity), 0.5);
      for (const Sensitivity& one : found.all) {
        INFO(plan.model.name << " " << one.name);
        CHECK((is_time(one) ? one.less : one.more) <= found.step_time);
        CHECK(found.step_time <= (is_time(one) ? one.more : one.less));
      }
    }
  }
}

TEST_CASE("a machine that is faster in everything is faster by as much", "[studies][sensitivity]") {
  // Where every rate grows and every time shrinks by a factor, so does the step; so by Euler's
  // theorem the elasticities of the independent numbers sum to 1. One that the tornado forgot would
  // be missing from the sum. (Shares and operations scale rates that are in it already.)
  const std::set<std::string> rates{"peak_flops",    "vector_rate",   "hbm_bandwidth",
                                    "ici_bandwidth", "dcn_bandwidth", "pcie_bandwidth",
                                    "scatter_add"};
  const std::set<std::string> times{"ici_hop_latency", "attention_grid_step", "sort_step"};
  constexpr double change = 0.001;
  for (const Plan& plan : plans()) {
    const Sensitivities found = sensitivities(evaluate(plan, Fidelity::closed_form), change);
    double sum = 0;
    for (const Sensitivity& one : found.all) {
      const double slope = static_cast<double>((one.less - one.more).value()) / (2 * change) /
                           static_cast<double>(found.step_time.value());
      if (rates.contains(one.name)) sum += slope;
      if (times.contains(one.name)) sum -= slope;
    }
    INFO(plan.model.name);
    CHECK(sum == Approx(1).margin(0.01));
  }
}

TEST_CASE("a share counts as much as the rate that it is a share of", "[studies][sensitivity]") {
  for (const Plan& plan : plans()) {
    const Sensitivities found = sensitivities(evaluate(plan, Fidelity::closed_form));
    std::map<std::string, const Sensitivity*> by_name;
    for (const Sensitivity& one : found.all) by_name[one.name] = &one;
    for (const auto& [share, rate] :
         {std::pair{"hbm", "hbm_bandwidth"}, std::pair{"ici", "ici_bandwidth"}}) {
      // The products of doubles may differ in their last bit: a picosecond per operation.
      CHECK(by_name.at(share)->less / by_name.at(rate)->less == Approx(1).epsilon(1e-9));
      CHECK(by_name.at(share)->more / by_name.at(rate)->more == Approx(1).epsilon(1e-9));
    }
    // One slice sends nothing over DCN.
    const Picoseconds dcn = by_name.at("dcn_bandwidth")->effect(found.step_time);
    CHECK((dcn == Picoseconds(0)) == (plan.topology.slices == 1));
  }
}

TEST_CASE("the skew of a routing is varied where there is one", "[studies][sensitivity]") {
  PlanRequest request;
  request.assignments = {"model_name=mixtral-8x7b", "compile_topology=v5p-64",
                         "per_device_batch_size=2", "attention=dot_product",
                         "ici_fsdp_parallelism=8",  "ici_expert_parallelism=4"};
  const auto skews = [&](const PlanRequest& of) {
    const Plan plan = make_plan(of);
    int count = 0;
    for (const Sensitivity& one : sensitivities(evaluate(plan, Fidelity::closed_form)).all)
      count += one.origin == "routing";
    return count;
  };
  CHECK(skews(request) == 0);
  CHECK(skews(changed(request, {{"meshsim.routing", "lognormal:sigma=0.5,seed=1"}})) == 1);
}

TEST_CASE("what its interval leaves open is the span of the step over it",
          "[studies][sensitivity]") {
  Sensitivities found;
  found.step_time = Picoseconds(100);
  Sensitivity one;
  one.name = "a";
  one.less = Picoseconds(110);
  one.more = Picoseconds(95);
  CHECK(one.effect(found.step_time) == Picoseconds(110 - 95));
  CHECK(!one.uncertainty(found.step_time));
  one.interval = {1, 2, Picoseconds(103), Picoseconds(101)};
  CHECK(one.uncertainty(found.step_time) == Picoseconds(103 - 100));
  found.all.push_back(one);
  one.name = "b";  // less effect, known worse
  one.less = one.more = Picoseconds(100);
  one.interval = {1, 2, Picoseconds(90), Picoseconds(101)};
  found.all.push_back(one);
  one.name = "c";  // its interval does not move the step
  one.interval = {1, 2, Picoseconds(100), Picoseconds(100)};
  found.all.push_back(one);
  std::vector<std::string> names;
  for (const Sensitivity* open : found.to_measure()) names.push_back(open->name);
  CHECK(names == std::vector<std::string>{"b", "a"});
}
