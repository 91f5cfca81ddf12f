#include "program/remat_policy.hpp"

#include <catch2/catch.hpp>

#include "plans/state.hpp"
#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

struct Cost {
  FlopCount recomputed;
  Bytes temp;
  Bytes host;
  Bytes copied_out, copied_back;
};

Cost cost(const Plan& plan) {
  const StepProgram program = lower(plan, Prefetch::layer);
  Cost total;
  total.temp = memory_peak(program).temp;
  total.host = program.host.bytes();
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work != nullptr && leaf.pass == Pass::recompute)
      total.recomputed += work->model_flops * times;
    const auto* copy = std::get_if<HostCopy>(&leaf.work);
    if (copy != nullptr)
      (copy->to_host ? total.copied_out : total.copied_back) += copy->bytes * times;
  });
  return total;
}

Cost cost(const std::string& model, testing::Words more) {
  return cost(plan_of(job(model, "v5p-128", std::move(more))));
}

TEST_CASE("what is kept is not computed again", "[program][remat]") {
  // From the policy that keeps least to the one that keeps most: recomputation falls.
  const std::vector<std::string> policies{"full",
                                          "save_out_proj",
                                          "save_dot_except_mlp",
                                          "save_dot_with_context_except_mlp",
                                          "minimal_with_context",
                                          "none"};
  for (const char* model : {"llama3.1-8b", "deepseek2-16b", "mixtral-8x7b"}) {
    FlopCount before(std::numeric_limits<std::int64_t>::max());
    for (const std::string& policy : policies) {
      INFO(model << " " << policy);
      const Cost now = cost(model, {"remat_policy=" + policy});
      CHECK(now.recomputed <= before);
      CHECK(now.host.value() == 0);
      before = now.recomputed;
    }
    CHECK(before.value() == 0);  // `none` keeps everything
  }
}

TEST_CASE("every named policy and its custom spelling are the same step", "[program][remat]") {
  const auto same = [](const testing::Words& preset, const testing::Words& custom) {
    const Cost a = cost("llama3.1-8b", preset);
    const Cost b = cost("llama3.1-8b", custom);
    CHECK(a.recomputed == b.recomputed);
    CHECK(a.temp == b.temp);
    CHECK(a.host == b.host);
  };
  same({"remat_policy=full"}, {"remat_policy=custom"});
  same({"remat_policy=save_out_proj"}, {"remat_policy=custom", "out_proj=device"});
  same({"remat_policy=save_qkv_proj"},
       {"remat_policy=custom", "query_proj=device", "key_proj=device", "value_proj=device"});
  same({"remat_policy=qkv_proj_offloaded"},
       {"remat_policy=custom", "query_proj=offload", "key_proj=offload", "value_proj=offload"});
}

TEST_CASE("a block's input on the host leaves the device and comes back once", "[program][remat]") {
  const Cost device = cost("llama3.1-8b", {"remat_policy=custom"});
  const Cost host = cost("llama3.1-8b", {"remat_policy=custom", "decoder_layer_input=offload"});
  // 32 layers, each with an input of 2048 tokens x 4096 channels in bfloat16.
  const Bytes inputs(std::int64_t{32} * 2048 * 4096 * 2);
  CHECK(host.host == inputs);
  CHECK(host.copied_out == inputs);
  CHECK(host.copied_back == inputs);
  CHECK(host.recomputed == device.recomputed);
  CHECK(host.temp < device.temp);
}

TEST_CASE("an optimizer on the host comes and goes once a step", "[program][host]") {
  const Plan plan = plan_of(job("llama3.1-8b", "v5p-128", {"optimizer_memory_host_offload=true"}));
  const Cost host = cost(plan);
  const Bytes moments = training_state(plan).on_host();
  CHECK(moments.value() > 0);
  CHECK(host.copied_back == moments);
  CHECK(host.copied_out == moments);
  CHECK(host.host.value() == 0);  // counted with the state
  CHECK(cost("llama3.1-8b", {}).temp <= host.temp);
}

TEST_CASE("checkpoints that share a symbol must be treated alike", "[program][remat]") {
  const auto reason = [](testing::Words more) {
    return not_lowered(plan_of(job("llama3.1-8b", "v5p-128", std::move(more))));
  };
  CHECK_FALSE(reason({"remat_policy=custom", "mlpwi_0=device", "mlpwi_1=device"}));
  const auto halved = reason({"remat_policy=custom", "mlpwi_0=device"});
  REQUIRE(halved);
  CHECK(halved->find("mlpwi_0 and mlpwi_1") != std::string::npos);
  // A preset does not read the keys of `custom`.
  CHECK_FALSE(reason({"remat_policy=full", "mlpwi_0=device"}));
}

TEST_CASE("DeepSeek-V4's unrolled layers keep everything under every policy", "[program][remat]") {
  const Plan plan = plan_of(job("deepseek4-284b", "v5p-512"));
  for_each_leaf(lower(plan, Prefetch::layer).root, [](const Leaf& leaf, std::int64_t) {
    // The hash-routed layers are the unrolled ones.
    CHECK_FALSE((leaf.pass == Pass::recompute && leaf.layer_kind.ends_with("/hash")));
  });
}

}  // namespace
}  // namespace meshsim
