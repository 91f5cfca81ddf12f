// How many steps a second: plans evaluated from nothing, by the closed form and by the event
// engine; the engine alone, on a step that is lowered; and evaluated by an Evaluator that knows
// what neighbouring plans share. All in one run, in CPU time of one thread.
#include <fmt/format.h>

#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "cost_models/machine.hpp"
#include "plans/plan.hpp"
#include "sim/evaluation.hpp"
#include "sim/evaluator.hpp"
#include "sim/event_engine.hpp"

namespace {

using namespace meshsim;

template <class Run>
double per_second(Run&& run) {
  constexpr double long_enough = 1.0;  // seconds
  const std::clock_t start = std::clock();
  int runs = 0;
  double elapsed = 0;
  do {
    run();
    ++runs;
    elapsed = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  } while (elapsed < long_enough);
  return runs / elapsed;
}

Plan plan_of(const std::vector<std::string>& assignments, const std::string& routing = "") {
  PlanRequest request;
  request.assignments = assignments;
  if (!routing.empty()) {
    Node law;
    law.kind = Node::Kind::scalar;
    law.text = routing;
    request.own["routing"] = law;
  }
  return make_plan(request);
}

void show(const char* name, const Plan& plan) {
  const Machine machine = machine_of(plan);
  const StepProgram program = lower(plan, furthest_prefetch(plan));
  Evaluator evaluator(Fidelity::event);
  const double closed = per_second([&] { evaluate(plan, Fidelity::closed_form); });
  const double events = per_second([&] { evaluate(plan, Fidelity::event); });
  const double alone = per_second([&] { simulate_events(program, machine); });
  const double known = per_second([&] { evaluator.evaluate(plan); });
  fmt::print("{:<46} {:>11.0f} {:>11.0f} {:>11.0f} {:>11.0f}\n", name, closed, events, alone,
             known);
}

}  // namespace

int main() {
  const std::vector<std::string> flash{"model_name=deepseek4-284b", "compile_topology=v5p-512",
                                       "attention=dot_product",     "per_device_batch_size=1",
                                       "max_target_length=4096",    "weight_dtype=bfloat16"};
  std::vector<std::string> experts = flash;
  experts.insert(experts.end(), {"ici_fsdp_parallelism=32", "ici_expert_parallelism=8"});
  fmt::print("{:<46} {:>11} {:>11} {:>11} {:>11}\n", "steps per second of one core", "closed-form",
             "event", "lowered", "all known");
  show("llama3.1-8b, FSDP 32", plan_of({"model_name=llama3.1-8b", "compile_topology=v5p-64"}));
  show("deepseek4-284b, FSDP 256", plan_of(flash));
  show("deepseek4-284b, FSDP 32 x EP 8", plan_of(experts));
  show("the same, sigma 0.45 (loads of every layer)",
       plan_of(experts, "lognormal:sigma=0.45,seed=1"));
}
