// How many plans a second a sweep can walk, and what the event engine costs against the closed
// form: both measured here, in one run.
#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "plans/plan.hpp"
#include "sim/evaluation.hpp"

namespace {

using meshsim::Fidelity;

double plans_per_second(const meshsim::Plan& plan, Fidelity fidelity) {
  using Clock = std::chrono::steady_clock;
  constexpr double long_enough = 1.0;  // seconds
  const auto start = Clock::now();
  int walked = 0;
  double elapsed = 0;
  do {
    const meshsim::Evaluation result = meshsim::evaluate(plan, fidelity);
    if (!result.step) return 0;
    ++walked;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < long_enough);
  return walked / elapsed;
}

}  // namespace

int main() {
  const std::vector<std::pair<const char*, std::vector<std::string>>> plans{
      {"llama3.1-8b, FSDP 32", {"model_name=llama3.1-8b", "compile_topology=v5p-64"}},
      {"deepseek4-284b, FSDP 256",
       {"model_name=deepseek4-284b", "compile_topology=v5p-512", "attention=dot_product",
        "per_device_batch_size=1", "max_target_length=4096", "weight_dtype=bfloat16"}},
      {"deepseek4-284b, FSDP 32 x EP 8",
       {"model_name=deepseek4-284b", "compile_topology=v5p-512", "attention=dot_product",
        "per_device_batch_size=1", "max_target_length=4096", "weight_dtype=bfloat16",
        "ici_fsdp_parallelism=32", "ici_expert_parallelism=8"}},
  };
  fmt::print("{:<32} {:>14} {:>14} {:>8}\n", "plans per second", "closed-form", "event", "ratio");
  for (const auto& [name, assignments] : plans) {
    meshsim::PlanRequest request;
    request.assignments = assignments;
    const meshsim::Plan plan = meshsim::make_plan(request);
    const double closed = plans_per_second(plan, Fidelity::closed_form);
    const double events = plans_per_second(plan, Fidelity::event);
    fmt::print("{:<32} {:>14.0f} {:>14.0f} {:>8.1f}\n", name, closed, events, closed / events);
  }
}
