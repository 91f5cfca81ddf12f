// The batch-split schedule: what it sends, computes and keeps.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "routing/traffic.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

constexpr std::int64_t moe_layers = 58;  // of DeepSeek-V3

Words words(Words more = {}) {
  Words all{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "per_device_batch_size=2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

StepProgram program_of(const Words& more, const char* model = "deepseek3-671b") {
  return lower(plan_of(job(model, "v5p-128", words(more))), Prefetch::layer);
}

Words split(Words more = {}) {
  more.emplace_back("use_batch_split_schedule=true");
  return more;
}

// Collective of the program -> that of routing/traffic.hpp.
const std::map<std::string, std::string>& names() {
  static const std::map<std::string, std::string> all{
      {"forward gather_tokens", "all_gather_x"},
      {"forward gather_ids", "all_gather_ids"},
      {"forward gather_weights_of_choices", "all_gather_weights"},
      {"forward sum_counts", "all_reduce_counts"},
      {"forward reduce_outputs", "reduce_scatter"},
      {"recompute gather_tokens", "all_gather_x_again"},
      {"backward gather_gradients", "all_gather_dy"},
      {"backward reduce_tokens", "reduce_scatter_dx"},
      {"backward reduce_weights_of_choices", "reduce_scatter_d_weights"},
  };
  return all;
}

}  // namespace

TEST_CASE("batch split sends what routing predicts, and nothing else", "[program][ep][split]") {
  LayerExchange layer;
  layer.strategy = Strategy::batch_split;
  layer.expert_ranks = 4;
  layer.tokens = 2 * 2048;
  layer.embedding = 7168;
  layer.experts = 256;
  layer.top_k = 8;
  layer.element_bytes = layer.weight_bytes = 2;
  CountMatrix any(4, 256);
  std::fill(any.counts.begin(), any.counts.end(), 2 * 2048 * 8 / 256);
  std::map<std::string, std::int64_t> predicted;  // sent by rank 0
  for (const Traffic& traffic :
       {predicted_traffic(layer, any), predicted_backward_traffic(layer, any)}) {
    for (const TrafficRow& row : traffic.rows()) {
      if (row.src == 0) predicted[row.collective] += row.bytes;
    }
  }
  REQUIRE(predicted.size() == names().size());

  for (const char* policy : {"remat_policy=full", "remat_policy=minimal"}) {
    std::map<std::string, std::int64_t> over_expert;
    for_each_leaf(program_of(split({policy})).root, [&](const Leaf& leaf, std::int64_t times) {
      const auto* work = std::get_if<Collective>(&leaf.work);
      if (work == nullptr || work->mesh_axes != std::vector<std::string>{"expert"}) return;
      over_expert[std::string(name(leaf.pass)) + " " + leaf.name] += work->sent().value() * times;
    });
    over_expert.erase("backward reduce_gradients");  // of the gate
    CHECK(over_expert.size() == names().size());
    for (const auto& [own, theirs] : names()) {
      INFO(own);
      CHECK(over_expert[own] == moe_layers * predicted.at(theirs));
    }
  }
}

TEST_CASE("a microbatch of batch split sends the golden bytes", "[program][ep][split]") {
  // tests/data/golden/comm_bytes.json, v4_flash_ep8: T = 4096, d = 4096, k = 6, P = 8, bf16; of one
  // microbatch of T / 2 tokens.
  PlanRequest hypothetical =
      request(job("deepseek4-284b", "v5p-256",
                  {"ici_expert_parallelism=8", "ici_fsdp_parallelism=-1", "per_device_batch_size=2",
                   "max_target_length=2048", "use_batch_split_schedule=true"}));
  Node ids;
  ids.kind = Node::Kind::sequence;
  Node id;
  id.kind = Node::Kind::scalar;
  id.text = "batch-split-model";
  ids.items.push_back(id);
  hypothetical.own["allow"] = ids;
  const Plan plan = make_plan(hypothetical);
  CHECK(plan.hypothetical());
  const Sums sums = sums_of(lower(plan, Prefetch::layer));
  const std::int64_t microbatches = 43 * 2;
  const auto each = [&](const char* name) {
    CHECK(sums.runs.at(name) == microbatches);
    return sums.sent.at(name).value() / microbatches;
  };
  CHECK(each("forward gather_tokens") == 117440512);  // bs_ag_x
  CHECK(each("forward gather_ids") + each("forward gather_weights_of_choices") == 516096);
  CHECK(each("forward reduce_outputs") == 117440512);  // bs_rs
  CHECK(each("recompute gather_tokens") == 117440512);
  CHECK(each("backward gather_gradients") == 117440512);
  CHECK(each("backward reduce_tokens") == 117440512);
  // The sums that returned are kept: their reduce-scatter is not run again.
  CHECK(!sums.runs.contains("recompute reduce_outputs"));
}

TEST_CASE("batch split computes the mathematics of the whole batch", "[program][ep][split]") {
  for (const char* sort : {"use_ragged_sort=true", "use_ragged_sort=false"}) {
    const StepProgram whole = program_of({"use_ring_of_experts=true", sort});
    const StepProgram halves = program_of(split({sort}));
    CHECK(halves.model_flops == whole.model_flops);
    CHECK(flops(halves, Pass::forward) == flops(whole, Pass::forward));
    CHECK(flops(halves, Pass::backward) == flops(whole, Pass::backward));
  }
  // Alone, without expert parallelism, nothing travels.
  const Words one{"ici_expert_parallelism=1"};
  const StepProgram alone = program_of(split(one));
  CHECK(alone.model_flops == program_of(one).model_flops);
  CHECK(!sums_of(alone).runs.contains("forward gather_tokens"));
}

TEST_CASE("batch split does not multiply gates and ups again", "[program][ep][split]") {
  std::map<std::string, std::int64_t> runs;
  for_each_leaf(program_of(split()).root, [&](const Leaf& leaf, std::int64_t times) {
    if (std::holds_alternative<Compute>(leaf.work))
      runs[std::string(name(leaf.pass)) + " " + leaf.name] += times;
  });
  CHECK(runs.at("forward gmm_up") == 2 * moe_layers);
  CHECK(!runs.contains("recompute gmm_up"));
  CHECK(!runs.contains("recompute gmm_down"));
  CHECK(runs.at("recompute expert_activation") == 2 * moe_layers);
  CHECK(runs.at("backward gmm_up_dw") == 2 * moe_layers);
  // The logits of attention are those of dot_product here: kept is the result only.
  CHECK(runs.contains("recompute core_qk"));
}

TEST_CASE("batch split keeps inputs, attention and twice the mean of rows on the host",
          "[program][ep][split]") {
  const StepProgram program = program_of(split({"attention=flash", "use_tokamax_splash=true"}));
  // T = 4096 tokens a device: x [T, 7168], context [T, 128 x 128], log-sum-exp [T, 128] in fp32,
  // 2 x 2 (T / 2) k rows of 2 x 2048 gates and ups, k = 8.
  const std::int64_t T = 4096;
  const std::int64_t layer =
      T * 7168 * 2 + T * 128 * 128 * 2 + T * 128 * 4 + 2 * (2 * (T / 2) * 8) * 2 * 2048 * 2;
  CHECK(program.host.bytes() == Bytes(moe_layers * layer));
  // What leaves comes back.
  std::int64_t there = 0;
  std::int64_t back = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (const auto* copy = std::get_if<HostCopy>(&leaf.work))
      (copy->to_host ? there : back) += copy->bytes.value() * times;
  });
  CHECK(there == moe_layers * layer);
  CHECK(back == there);
}

TEST_CASE("the gradients of both microbatches are added before they leave", "[program][split]") {
  // Without sharded experts a kernel's gradient is one sum: reduced once per layer.
  const Sums sums = sums_of(program_of(split({"weight_dtype=bfloat16"})));
  const Sums whole = sums_of(program_of({"use_ring_of_experts=true", "weight_dtype=bfloat16"}));
  for (const char* name : {"backward scatter_gradients", "backward reduce_gradients"}) {
    INFO(name);
    CHECK(sums.sent.at(name) == whole.sent.at(name));
  }
  CHECK(sums.sent.at("forward gather_weights") == whole.sent.at("forward gather_weights"));
  CHECK(sums.hbm.at("backward copy_gradients") == whole.hbm.at("backward copy_gradients"));
  // Twice the gradients written, and once read: of 64 local experts 3 x 7168 x 2048 in bf16.
  const std::int64_t kernels = moe_layers * 64 * 3 * std::int64_t{7168} * 2048 * 2;
  const auto dw = [](const Sums& of) {
    return (of.hbm.at("backward gmm_up_dw") + of.hbm.at("backward gmm_down_dw")).value();
  };
  CHECK(dw(sums) - dw(whole) == 2 * kernels);
}

TEST_CASE("batch split sums over DCN beside what goes over ICI", "[program][split]") {
  const Words two_slices{"num_slices=2", "dcn_data_parallelism=2"};
  const auto branches = [](const StepProgram& program) {
    std::size_t most = 0;  // of a layer, beside its core
    const auto visit = [&](const auto& self, const ProgramNode& node) -> void {
      if (node.kind == ProgramNode::Kind::parallel) {
        const auto reduces = [](const ProgramNode& child) {
          return !child.children.empty() && child.children.back().leaf.name == "reduce_gradients";
        };
        if (std::any_of(node.children.begin() + 1, node.children.end(), reduces))
          most = std::max(most, node.children.size() - 1);
      }
      for (const ProgramNode& child : node.children) self(self, child);
    };
    visit(visit, program.root);
    return most;
  };
  const StepProgram split_in_two = program_of(split(two_slices));
  CHECK(branches(split_in_two) == 2);
  CHECK(branches(program_of(split())) == 1);
  Words ring = two_slices;
  ring.emplace_back("use_ring_of_experts=true");
  CHECK(sums_of(split_in_two).sent.at("backward reduce_gradients") ==
        sums_of(program_of(ring)).sent.at("backward reduce_gradients"));
}

TEST_CASE("batch split is not laid out where its microbatches cannot be", "[program][split]") {
  const auto reason = [](Words more, const char* model = "deepseek3-671b") {
    return not_lowered(plan_of(job(model, "v5p-128", words(split(std::move(more))))));
  };
  CHECK(!reason({}));
  CHECK(!reason({"batch_split_factor=2"}));
  CHECK(reason({"per_device_batch_size=3"})->find("sequences on a device: 3") != std::string::npos);
  CHECK(reason({"batch_split_factor=4"})->find("two microbatches") != std::string::npos);
  CHECK(reason({"ici_tensor_parallelism=4"})->find("tensor") != std::string::npos);
  CHECK(reason({"sparse_matmul=false"})->find("dense path") != std::string::npos);
}
