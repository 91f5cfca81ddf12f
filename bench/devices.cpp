// Steps of devices that differ: DeepSeek-V4-Flash under log-normal routing (sigma 0.45), every chip
// with loads of its own. One thread, CPU time; events are those of a class, the peak memory that of
// the whole process.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "cost_models/machine.hpp"
#include "plans/plan.hpp"
#include "program/expert_loads.hpp"
#include "program/lower.hpp"
#include "sim/device_step.hpp"
#include "sim/event_engine.hpp"

namespace {

using namespace meshsim;

double now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double peak_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

Plan flash(const std::string& slice, std::int64_t data, std::int64_t fsdp, std::int64_t experts) {
  PlanRequest request;
  request.assignments = {"model_name=deepseek4-284b",
                         "attention=flash",
                         "use_tokamax_splash=true",
                         "max_target_length=4096",
                         "weight_dtype=bfloat16",
                         "allow_split_physical_axes=true",
                         "compile_topology=" + slice,
                         fmt::format("ici_data_parallelism={}", data),
                         fmt::format("ici_fsdp_parallelism={}", fsdp),
                         fmt::format("ici_expert_parallelism={}", experts)};
  Node law;
  law.kind = Node::Kind::scalar;
  law.text = "lognormal:sigma=0.45,seed=1";
  request.own["routing"] = law;
  return make_plan(request);
}

Exchange exchange_of(const Plan& plan) {
  for (const auto& layer : step_templates(plan).slots) {
    if (layer->exchange.parts > 0) return layer->exchange;
  }
  return {};
}

struct Fastest {
  double seconds = 1e18;
  DeviceStep step;
};

// Of several runs the fastest: what else the machine does makes none faster.
template <class Run>
Fastest fastest(const Run& run) {
  Fastest one;
  double spent = 0;
  for (int runs = 0; runs < 2 || spent < 1; ++runs) {
    const double start = now();
    one.step = run();
    const double took = now() - start;
    one.seconds = std::min(one.seconds, took);
    spent += took;
  }
  return one;
}

void show(const std::string& name, const DeviceGrid& grid, double drawing, const Fastest& one) {
  const auto classes = static_cast<double>(grid.classes());
  const auto events = static_cast<double>(one.step.events);
  fmt::print(
      "{:<44} {:>8} {:>7.2f} s {:>7.3f} s {:>8.0f} us {:>8.0f} {:>8.0f} ns {:>6.2f} GiB {:>8.3f} "
      "s\n",
      name, grid.classes(), drawing, one.seconds, one.seconds / classes * 1e6, events / classes,
      one.seconds / events * 1e9, peak_gib(), seconds(one.step.total));
}

// One group; its ranks are the classes.
void show_ranks(const char* name, const Plan& plan) {
  const Machine machine = machine_of(plan);
  const StepProgram program = lower(plan, furthest_prefetch(plan));
  const DeviceGrid grid({{"expert", plan.mesh.size("expert")}});
  const double start = now();
  const auto drawn = expert_loads(plan, exchange_of(plan));
  const double drawing = now() - start;
  show(name, grid, drawing, fastest([&] {
         RankLoads loads(drawn.get(), grid.classes(), machine);
         return simulate_devices(program, machine, grid, loads);
       }));
}

// Every chip a class.
void show_chips(const std::string& slice, std::int64_t data, std::int64_t fsdp,
                std::int64_t experts) {
  const Plan plan = flash(slice, data, fsdp, experts);
  const Machine machine = machine_of(plan);
  const StepProgram program = lower(plan, furthest_prefetch(plan));
  const DeviceGrid grid({{"data", data}, {"fsdp", fsdp}, {"expert", experts}});
  const double start = now();
  const auto drawn = group_loads(plan, exchange_of(plan), data * fsdp);
  const double drawing = now() - start;
  show(fmt::format("{}: data {} x FSDP {} x EP {}", slice, data, fsdp, experts), grid, drawing,
       fastest([&] {
         GroupLoads loads(drawn, grid, machine);
         return simulate_devices(program, machine, grid, loads);
       }));
}

}  // namespace

// Of all rows, or of those on the slice named.
int main(int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  fmt::print("{:<44} {:>8} {:>9} {:>9} {:>11} {:>8} {:>11} {:>10} {:>10}\n", "a step of", "classes",
             "drawn", "simulated", "per class", "events", "per event", "peak", "step");
  if (only.empty() || only == "v5p-512")
    show_ranks("v5p-512: EP 256, its ranks", flash("v5p-512", 1, 1, 256));
  for (const auto& [slice, data] : {std::pair{"v5p-512", 1},
                                    {"v5p-1024", 2},
                                    {"v5p-2048", 4},
                                    {"v5p-4096", 8},
                                    {"v5p-17920", 35}}) {
    if (only.empty() || only == slice) show_chips(slice, data, 4, 64);
  }
}
