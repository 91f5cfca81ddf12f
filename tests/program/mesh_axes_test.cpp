// Which axis carries what: FSDP along one axis or two, inside a slice or across slices, and
// accumulation of gradients, change who sends and how often, never how much is computed.
#include <catch2/catch.hpp>
#include <map>

#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Operation name -> bytes sent by one device.
std::map<std::string, std::int64_t> sent(const StepProgram& program) {
  std::map<std::string, std::int64_t> bytes;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work != nullptr) bytes[leaf.name] += work->sent().value() * times;
  });
  return bytes;
}

StepProgram llama_on(const std::string& slice, const Words& degrees) {
  const Plan plan = plan_of(job("llama3.1-8b", slice, degrees));
  REQUIRE(!not_lowered(plan));
  return lower(plan, Prefetch::layer);
}

}  // namespace

TEST_CASE("FSDP along two axes sends what FSDP along one does", "[program][axes]") {
  // Every kernel lies in 64 shards either way, if on two dimensions (embed over fsdp, mlp over
  // fsdp_transpose) or one: 63/64 of its gathered copy is received.
  for (const char* model : {"llama3.1-8b", "mixtral-8x7b"}) {
    INFO(model);
    const Plan one = plan_of(job(model, "v5p-128", {"ici_fsdp_parallelism=64"}));
    const Plan two = plan_of(
        job(model, "v5p-128", {"ici_fsdp_parallelism=16", "ici_fsdp_transpose_parallelism=4"}));
    REQUIRE(!not_lowered(two));
    const StepProgram along_one = lower(one, Prefetch::layer);
    const StepProgram along_two = lower(two, Prefetch::layer);
    CHECK(sent(along_one)["gather_weights"] == sent(along_two)["gather_weights"]);
    CHECK(sent(along_one)["scatter_gradients"] == sent(along_two)["scatter_gradients"]);
    CHECK(along_one.model_flops == along_two.model_flops);
    CHECK(along_one.tokens == along_two.tokens);
  }
}

TEST_CASE("an axis across slices is the same axis", "[program][axes]") {
  // Two slices of 64 chips against one of 128.
  const Words two{"compile_topology_num_slices=2"};
  const auto on_two = [&](Words degrees) {
    degrees.insert(degrees.end(), two.begin(), two.end());
    return llama_on("v5p-128", degrees);
  };
  const StepProgram fsdp = on_two({"ici_fsdp_parallelism=64", "dcn_fsdp_parallelism=2"});
  const StepProgram inside = llama_on("v5p-256", {"ici_fsdp_parallelism=128"});
  CHECK(sent(fsdp) == sent(inside));
  CHECK(memory_peak(fsdp).temp == memory_peak(inside).temp);
  // Data parallel slices send gradients only: an all-reduce of a 64th of each kernel.
  const StepProgram data = on_two({"ici_fsdp_parallelism=64", "dcn_data_parallelism=2"});
  const StepProgram alone = llama_on("v5p-128", {"ici_fsdp_parallelism=64"});
  CHECK(sent(data)["gather_weights"] == sent(alone)["gather_weights"]);
  CHECK(sent(data)["scatter_gradients"] == sent(alone)["scatter_gradients"]);
  // 2 (n - 1) / n = 1 of what rests of the gradients of kernels, float32; 2 x 127/128 of the scales
  // of norms, whole on every device.
  const std::int64_t norms = (2 * 32 + 1) * 4096;
  const std::int64_t kernels = 8030261248 - norms;  // of Llama 3.1 8B
  CHECK(sent(data)["reduce_gradients"] == kernels / 64 * 4 + norms * 4 / 128 * 127 * 2);
  CHECK(data.model_flops == alone.model_flops);
  // Tensor, context and pipeline degrees may lie across slices, too.
  for (const Words& degrees :
       {Words{"ici_fsdp_parallelism=64", "dcn_tensor_parallelism=2"},
        Words{"ici_fsdp_parallelism=64", "dcn_context_parallelism=2"},
        Words{"ici_fsdp_parallelism=64", "dcn_pipeline_parallelism=2"},
        Words{"ici_fsdp_parallelism=64", "dcn_fsdp_transpose_parallelism=2"}}) {
    INFO(degrees.back());
    const StepProgram across = on_two(degrees);
    CHECK(across.model_flops == alone.model_flops);
    CHECK(across.tokens == alone.tokens);
  }
}

TEST_CASE("accumulation repeats the passes, not the update", "[program][axes]") {
  const StepProgram once = llama_on("v5p-128", {"ici_fsdp_parallelism=64"});
  for (const std::int64_t steps : {2, 4}) {
    INFO(steps);
    const StepProgram program = llama_on(
        "v5p-128",
        {"ici_fsdp_parallelism=64", "gradient_accumulation_steps=" + std::to_string(steps)});
    CHECK(program.model_flops == once.model_flops * steps);
    CHECK(program.tokens == once.tokens * steps);
    // Weights are gathered and gradients scattered for each.
    for (const char* name : {"gather_weights", "scatter_gradients", "reduce_gradients"})
      CHECK(sent(program)[name] == sent(once)[name] * steps);
    // One more set of gradients.
    Bytes sum;
    Bytes single;
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name == "accumulated gradients") sum += buffer.bytes;
    }
    for (const Buffer& buffer : once.buffers) {
      if (buffer.category == "gradients") single += buffer.bytes;
    }
    CHECK(sum == single);
    std::int64_t updates = 0;
    for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
      if (leaf.name == "update") updates += times;
    });
    CHECK(updates == 1);
  }
}
