// How far the closed form and the event engine are apart on whole steps.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "cost_models/machine.hpp"
#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// event / closed form of the step, and the command for the message.
struct Ratio {
  double value = 1;
  std::string plan;
};

void compare(const Words& words, Ratio& worst) {
  const Plan plan = plan_of(words);
  const Machine machine = machine_of(plan);
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram program = lower(plan, prefetch);
    const double ratio =
        simulate_events(program, machine).total / closed_form(program, machine).total;
    std::string text{name(prefetch)};
    for (const std::string& word : words) text += " " + word;
    INFO(text << ": event / closed form = " << ratio);
    CHECK(ratio == Approx(1).margin(0.01));
    if (std::abs(ratio - 1) > std::abs(worst.value - 1)) worst = {ratio, text};
  }
}

const std::vector<Words>& balanced_meshes() {
  static const std::vector<Words> all{
      {"ici_fsdp_parallelism=256"},
      {"ici_fsdp_parallelism=32", "ici_expert_parallelism=8"},
      {"ici_fsdp_parallelism=4", "ici_expert_parallelism=64"},
  };
  return all;
}

}  // namespace

TEST_CASE("within 1 % on balanced plans of DeepSeek-V4-Flash on v5p-512", "[sim][agreement]") {
  Ratio worst;
  for (const Words& mesh : balanced_meshes()) {
    for (const char* dtype : {"float32", "bfloat16"}) {
      Words words = mesh;
      words.insert(words.end(), {std::string("weight_dtype=") + dtype, "max_target_length=4096"});
      compare(job("deepseek4-284b", "v5p-512", words), worst);
    }
  }
  WARN(fmt::format("worst event / closed form: {:.5f} ({})", worst.value, worst.plan));
}

TEST_CASE("within 1 % on other models", "[sim][agreement]") {
  Ratio worst;
  compare(job("llama3.1-8b", "v5p-64", {"max_target_length=8192"}), worst);
  compare(job("deepseek3-671b", "v5p-1024", {"mtp_num_layers=0", "max_target_length=4096"}), worst);
  compare(job("mixtral-8x7b", "v5p-128", {"max_target_length=4096"}), worst);
  compare(job("mixtral-8x22b", "v5p-256",
              {"ici_fsdp_parallelism=-1", "ici_expert_parallelism=8", "per_device_batch_size=2"}),
          worst);
  WARN(fmt::format("worst event / closed form: {:.5f} ({})", worst.value, worst.plan));
}
