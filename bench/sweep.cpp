// What neighbouring plans share: sweeps of DeepSeek-V4-Flash over FSDP x EP, each plan made and
// evaluated, beside the same plans made and evaluated from nothing; and once more, when all that
// they share is known. Both spaces have 600 meshes, batches and types of weights, whose layers
// differ in size; the second varies more of what leaves them as they are. All in one run, in CPU
// time of one thread.
#include <fmt/format.h>

#include <ctime>
#include <string>
#include <vector>

#include "sim/evaluator.hpp"
#include "studies/sweep/plan_variants.hpp"

namespace {

using meshsim::Change;

// The plans of some axes, the last one fastest.
class Space {
 public:
  Space& vary(const char* key, std::vector<const char*> values) {
    plans_ *= values.size();
    axes_.push_back({key, std::move(values)});
    change_.emplace_back(key, "");
    return *this;
  }
  std::size_t size() const { return plans_; }
  // Valid until the next call.
  const Change& plan(std::size_t index) {
    for (std::size_t axis = axes_.size(); axis-- > 0;) {
      const std::vector<const char*>& values = axes_[axis].values;
      change_[axis].second = values[index % values.size()];
      index /= values.size();
    }
    return change_;
  }

 private:
  struct Axis {
    const char* key;
    std::vector<const char*> values;
  };
  std::vector<Axis> axes_;
  std::size_t plans_ = 1;
  Change change_;
};

Space shapes() {
  Space space;
  space.vary("compile_topology", {"v5p-128", "v5p-256", "v5p-512", "v5p-1024", "v5p-2048"})
      .vary("ici_expert_parallelism", {"1", "2", "4", "8", "16"})
      .vary("per_device_batch_size", {"1", "2", "4", "8"})
      .vary("max_target_length", {"1024", "2048", "4096"});
  return space;
}

Space small_space() {
  return shapes()
      .vary("num_vocab_tiling", {"1", "2", "4", "8"})
      .vary("gradient_accumulation_steps", {"1", "2", "4", "8"})
      .vary("weight_dtype", {"float32", "bfloat16"})
      .vary("opt_type", {"adamw", "sgd"})
      .vary("optimizer_memory_host_offload", {"false", "true"});
}

Space large_space() {
  return shapes()
      .vary("num_vocab_tiling", {"1", "2", "4", "8"})
      .vary("weight_dtype", {"float32", "bfloat16"})
      .vary("gradient_accumulation_steps", {"1", "2", "3", "4", "6", "8", "12", "16"})
      .vary("opt_type", {"adamw", "sgd"})
      .vary("mu_dtype", {"", "bfloat16"})
      .vary("gradient_clipping_threshold", {"0", "1"})
      .vary("optimizer_memory_host_offload", {"false", "true"});
}

double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void measure(const meshsim::PlanRequest& base, Space space) {
  meshsim::PlanVariants plans(base);
  meshsim::Evaluator evaluator;
  const auto rate = [&](auto&& run) {
    const std::clock_t start = std::clock();
    for (std::size_t i = 0; i < space.size(); ++i) run(plans.make(space.plan(i)));
    return static_cast<double>(space.size()) / seconds_since(start);
  };
  const auto evaluated = [&](const auto& made) { evaluator.evaluate(*made.plan); };
  const double shared = rate(evaluated);
  const double again = rate(evaluated);
  const double made = rate([](const auto&) {});
  const std::clock_t start = std::clock();
  std::size_t walked = 0;
  for (; walked < space.size() && seconds_since(start) < 2; ++walked) {
    // Spread over the space.
    const Change& change = space.plan(walked * 4099 % space.size());
    meshsim::evaluate(meshsim::make_plan(meshsim::changed(base, change)),
                      meshsim::Fidelity::closed_form);
  }
  const double alone = static_cast<double>(walked) / seconds_since(start);
  fmt::print(
      "{} plans, plans per second of one core: made and evaluated {:.0f} (evaluated {:.0f}), once "
      "more {:.0f} ({:.0f}); from nothing {:.0f}; ratio {:.0f}\n",
      space.size(), shared, 1 / (1 / shared - 1 / made), again, 1 / (1 / again - 1 / made), alone,
      shared / alone);
}

}  // namespace

int main() {
  meshsim::PlanRequest base;
  base.assignments = {"model_name=deepseek4-284b", "attention=flash",
                      "use_tokamax_splash=true",   "sharding_tolerance=1",
                      "ici_fsdp_parallelism=-1",   "allow_split_physical_axes=true"};
  measure(base, small_space());
  measure(base, large_space());
}
