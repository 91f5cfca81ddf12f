// use_2d_fsdp_sharding with expert parallelism: kernels rest by experts on fsdp and by rows on
// fsdp_transpose, alike on every expert shard, and are used by experts on the expert axis.
#include <catch2/catch.hpp>

#include "plans/state.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// DeepSeek-V2-Lite: 26 MoE layers of 64 experts, D = 2048, F = 1408; FSDP 4 x 4, EP 4.
Plan two_dimensional(Words more = {}) {
  Words words{"use_2d_fsdp_sharding=true", "ici_fsdp_parallelism=-1",
              "ici_fsdp_transpose_parallelism=4", "ici_expert_parallelism=4", "remat_policy=none"};
  words.insert(words.end(), more.begin(), more.end());
  return plan_of(job("deepseek2-16b", "v5p-128", words));
}

constexpr std::int64_t moe_layers_of_v2 = 26;
constexpr std::int64_t kernel_elements = 3 * 64 * 2048 * 1408;  // elements of a layer's experts

}  // namespace

TEST_CASE("two-dimensional FSDP passes a part of each kernel on, and gathers an expert shard's",
          "[program][experts]") {
  const StepProgram program = lower(two_dimensional(), Prefetch::layer);
  Bag forward = sent(program, Pass::forward);
  Bag backward = sent(program, Pass::backward);
  // Used: a fourth of the experts, in bf16. Over fsdp x fsdp_transpose = 16 devices each has 1/16
  // of it before the gather; it comes from any of fsdp x expert = 16 devices, one of which is
  // itself.
  const std::int64_t used = kernel_elements / 4 * 2;
  CHECK(forward["pass_weights_on"] == moe_layers_of_v2 * used / 16 / 16 * 15);
  CHECK(backward["pass_weights_on"] == forward["pass_weights_on"]);
  // Gradients in fp32: 1/16 of the fourth is left after the reduce-scatter. It goes back, and the
  // four expert shards gather what all of them rest with: 1/16 of all experts.
  const std::int64_t summed = kernel_elements / 4 * 4;
  CHECK(backward["pass_gradients_on"] == moe_layers_of_v2 * summed / 16 / 16 * 15);
  CHECK(backward["gather_gradients_of_experts"] ==
        moe_layers_of_v2 * (kernel_elements * 4 / 16) / 4 * 3);
  // The experts are all that is passed on, and in the backward pass all that expert shards gather.
  std::int64_t gathered = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (leaf.name != "gather_weights" || leaf.pass != Pass::forward) return;
    const auto& work = std::get<Collective>(leaf.work);
    const bool of_experts =
        !leaf.reads.empty() && buffer_of(program, leaf.reads[0]).name.ends_with("of experts");
    if (!of_experts) return;
    CHECK(work.mesh_axes == std::vector<std::string>{"fsdp", "fsdp_transpose"});
    CHECK(buffer_of(program, leaf.reads[0]).bytes * work.group == work.payload);
    gathered += work.payload.value() * times;
  });
  CHECK(gathered == moe_layers_of_v2 * used);
}

TEST_CASE("two-dimensional FSDP: what rests and what is reduced have one shape",
          "[program][experts]") {
  const Plan plan = two_dimensional();
  const StepProgram program = lower(plan, Prefetch::kernel);
  Bytes gradients;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.category == "gradients") gradients += buffer.bytes;
  }
  Bytes parameters;
  for (const StateBuffer& buffer : training_state(plan).buffers) {
    if (buffer.category == "parameters") parameters += buffer.bytes;
  }
  // fp32 both; the scalars and norms differ by their padding when stacked.
  CHECK(static_cast<double>(gradients.value()) ==
        Approx(static_cast<double>(parameters.value())).epsilon(0.01));
}

TEST_CASE(
    "two-dimensional FSDP without expert parallelism, or with experts on every device, "
    "passes nothing on",
    "[program][experts]") {
  for (const Words& more : {Words{"ici_expert_parallelism=1"}, Words{"sparse_matmul=false"}}) {
    Words words{"use_2d_fsdp_sharding=true", "ici_fsdp_parallelism=-1",
                "ici_fsdp_transpose_parallelism=4"};
    words.insert(words.end(), more.begin(), more.end());
    if (more[0].starts_with("sparse")) words.emplace_back("ici_expert_parallelism=4");
    const StepProgram program =
        lower(plan_of(job("deepseek2-16b", "v5p-128", words)), Prefetch::layer);
    CHECK(sent(program, Pass::forward).count("pass_weights_on") == 0);
    CHECK(sent(program, Pass::backward).count("gather_gradients_of_experts") == 0);
  }
  // All of fsdp in fsdp_transpose: every device has a row of all experts, and takes its own.
  Words words{"use_2d_fsdp_sharding=true", "ici_fsdp_parallelism=1",
              "ici_fsdp_transpose_parallelism=16", "ici_expert_parallelism=4"};
  const StepProgram program =
      lower(plan_of(job("deepseek2-16b", "v5p-128", words)), Prefetch::layer);
  CHECK(sent(program, Pass::forward).count("pass_weights_on") == 0);
  // The 16 rows' gradients of a fourth of the experts are gathered to those of all.
  CHECK(sent(program, Pass::backward)["gather_gradients_of_experts"] ==
        moe_layers_of_v2 * (kernel_elements * 4 / 16) / 4 * 3);
}
