#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "program/lifetimes.hpp"
#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

namespace meshsim {
namespace {

using testing::flops;
using testing::job;
using testing::plan_of;

Plan hunyuan(int depth, testing::Words more = {}) {
  more.push_back("mtp_num_layers=" + std::to_string(depth));
  return plan_of(job("hunyuan3-295b", "v5p-128", std::move(more)));
}

TEST_CASE("prediction blocks add their operations, once per depth", "[program][mtp]") {
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram without = lower(hunyuan(0), prefetch);
    for (const int depth : {1, 2}) {
      const Plan plan = hunyuan(depth);
      const StepProgram with = lower(plan, prefetch);
      // One sequence of 2048 tokens on each device.
      FlopCount forward;
      FlopCount backward;
      for (const Op& op : mtp_ops(plan.model, {2048})) {
        forward += op.forward.flops * depth;
        backward += op.backward.flops * depth;
      }
      CHECK(flops(with, Pass::forward) - flops(without, Pass::forward) == forward);
      CHECK(flops(with, Pass::backward) - flops(without, Pass::backward) == backward);
      // The blocks stand outside the scan and keep what they computed.
      CHECK(flops(with, Pass::recompute) == flops(without, Pass::recompute));
      CHECK(memory_peak(with).temp > memory_peak(without).temp);
    }
  }
}

// Payloads of the reductions by layer kind.
std::map<std::string, Bytes> reduced(const StepProgram& program, CollectiveKind kind) {
  std::map<std::string, Bytes> sums;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work != nullptr && work->kind == kind) sums[leaf.layer_kind] += work->payload * times;
  });
  return sums;
}

TEST_CASE("the head that all losses share is reduced once", "[program][mtp]") {
  const auto without = reduced(lower(hunyuan(0), Prefetch::layer), CollectiveKind::reduce_scatter);
  const auto with = reduced(lower(hunyuan(2), Prefetch::layer), CollectiveKind::reduce_scatter);
  CHECK(with.at("global") == without.at("global"));
  CHECK(with.at("full/moe") == without.at("full/moe"));
  // Two blocks of one size.
  const auto one = reduced(lower(hunyuan(1), Prefetch::layer), CollectiveKind::reduce_scatter);
  CHECK(with.at("mtp") == one.at("mtp") * 2);
}

TEST_CASE("a prediction block recomputes nothing, and gathers its kernels for either pass",
          "[program][mtp]") {
  const StepProgram program = lower(hunyuan(1), Prefetch::kernel);
  std::map<Pass, Bytes> gathered;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    if (leaf.layer_kind != "mtp") return;
    CHECK(leaf.pass != Pass::recompute);
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work != nullptr && work->kind == CollectiveKind::all_gather)
      gathered[leaf.pass] += work->payload;
  });
  const Bytes kernel(std::int64_t{192} * 4096 * 1536 * 2);
  for (const Pass pass : {Pass::forward, Pass::backward}) CHECK(gathered[pass] > kernel * 3);
}

// Bytes of one category that live at the first operation of that name in that layer and pass.
Bytes live_at(const StepProgram& program, const std::string& kind, Pass pass,
              const std::string& name, const std::string& category) {
  const Lifetimes lifetimes(program);
  const auto& leaves = lifetimes.leaves();
  const auto found = std::find_if(leaves.begin(), leaves.end(), [&](const Leaf* leaf) {
    return leaf->layer_kind == kind && leaf->pass == pass && leaf->name == name;
  });
  REQUIRE(found != leaves.end());
  Bytes sum;
  for (std::size_t id = 0; id < program.buffers.size(); ++id) {
    if (program.buffers[id].category == category &&
        lifetimes.ranges()[id].contains(static_cast<int>(found - leaves.begin())))
      sum += program.buffers[id].bytes;
  }
  return sum;
}

TEST_CASE("the model's exponentials wait for the prediction block, whose own are gone",
          "[program][mtp]") {
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram program = lower(hunyuan(1), prefetch);
    // One sequence of 2048 tokens on each device, 120,832 words, fp32.
    CHECK(live_at(program, "mtp", Pass::backward, "gmm_up_dw", "logits") ==
          Bytes(std::int64_t{2048} * 120'832 * 4));
    // What the block's three kernels have summed waits in fp32 until it is through, beside the two
    // that were summed last in bf16: 192 experts of 4096 x 1536.
    const Bytes kernel(std::int64_t{192} * 4096 * 1536 * 4);
    CHECK(live_at(program, "mtp", Pass::backward, "fan_out_back", "local_gradients") >= kernel * 3);
  }
}

TEST_CASE("the gradients of a scan are there before the losses", "[program]") {
  const Plan plan = hunyuan(0);
  const StepProgram program = lower(plan, Prefetch::kernel);
  const Bytes at_loss =
      live_at(program, "global", Pass::backward, "cross_entropy_back", "gradients");
  Bytes all;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.category == "gradients") all += buffer.bytes;
  }
  // But for the embedding, the head and one dense layer: 295 G parameters in 80 layers.
  CHECK(at_loss < all);
  CHECK(at_loss * 10 > all * 9);
}

Plan flash_predicting(int depth) {
  const std::string layers = "mtp_num_layers=" + std::to_string(depth);
  PlanRequest request = testing::request(job("deepseek4-284b", "v5p-512", {layers}));
  Node id;
  id.kind = Node::Kind::scalar;
  id.text = "v4-mtp";
  Node allow;
  allow.kind = Node::Kind::sequence;
  allow.items = {id};
  request.own["allow"] = allow;
  return make_plan(request);
}

TEST_CASE("a prediction block of DeepSeek-V4 works on all its streams", "[program][mtp]") {
  const Plan with = flash_predicting(1);
  REQUIRE(!not_lowered(with));
  for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
    const StepProgram one = lower(with, prefetch);
    const StepProgram none = lower(flash_predicting(0), prefetch);
    FlopCount forward;
    FlopCount backward;
    for (const Op& op : mtp_ops(with.model, {2048})) {
      forward += op.forward.flops;
      backward += op.backward.flops;
    }
    CHECK(flops(one, Pass::forward) - flops(none, Pass::forward) == forward);
    CHECK(flops(one, Pass::backward) - flops(none, Pass::backward) == backward);
    // Every parameter of the block has a gradient, which is reduced: 6,610,048,635 of them, in
    // fp32.
    Bytes gradients;
    for (const Buffer& buffer : one.buffers) {
      if (buffer.name == "mtp gradients") gradients += buffer.bytes;
    }
    CHECK(gradients * with.devices() >= Bytes(std::int64_t{6'610'048'635} * 4));
    CHECK(reduced(one, CollectiveKind::reduce_scatter).at("mtp").value() > 0);
  }
}

}  // namespace
}  // namespace meshsim
