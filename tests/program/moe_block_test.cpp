// One MoE layer alone.
#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// 4,096 tokens a device on 8 devices, k = 8, D = 2048, F = 768, 128 experts, a shared expert of
// 2048: the block of the published micro-benchmarks.
Words block(const Words& more) {
  Words words{
      "model_name=moe-block-h2048-e128", "compile_topology=v5p-16", "per_device_batch_size=1",
      "max_target_length=4096",          "dtype=bfloat16",          "weight_dtype=bfloat16"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

constexpr std::int64_t n = 4096 * 8;
constexpr std::int64_t row = 2048 * 2;

struct BlockSums {
  std::map<std::string, std::int64_t> sent;
  std::int64_t gathered = 0, scatter_added = 0;
  std::map<std::string, Matmul> products;
};

BlockSums block_sums_of(const StepProgram& program) {
  BlockSums sums;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    if (const auto* work = std::get_if<Collective>(&leaf.work))
      sums.sent[leaf.name] += work->sent().value();
    if (const auto* work = std::get_if<Compute>(&leaf.work)) {
      sums.gathered += work->gathered.value();
      sums.scatter_added += work->scatter_added.value();
      if (!work->matmuls.empty()) sums.products[leaf.name] = work->matmuls.front();
    }
  });
  return sums;
}

Plan with_dispatch(const char* variant, const Words& words) {
  PlanRequest asked = request(block(words));
  Node dispatch;
  dispatch.kind = Node::Kind::scalar;
  dispatch.text = variant;
  Node mapping;
  mapping.kind = Node::Kind::mapping;
  mapping.members.push_back({"dispatch_variant", {}, dispatch});
  asked.own["moe_block"] = mapping;
  return make_plan(asked);
}

}  // namespace

TEST_CASE("a block alone on data-parallel devices reduces its gradients only", "[program][block]") {
  const Plan plan = plan_of(block({"ici_data_parallelism=8", "use_custom_sort_vjp=false"}));
  const StepProgram program = lower(plan, Prefetch::layer);
  const BlockSums sums = block_sums_of(program);
  // Routed 128 x 3 x 2048 x 768 and shared 3 x 2048 x 2048 weights in bfloat16, all-reduced.
  const std::int64_t weights = (std::int64_t{128} * 768 + 2048) * 3 * 2048 * 2;
  CHECK(sums.sent ==
        std::map<std::string, std::int64_t>{{"reduce_gradients", 2 * weights / 8 * 7}});
  CHECK(sums.scatter_added == 2 * n * row);
  CHECK(program.tokens == 4096);
  // Forward and twice as much backward; no router, no attention, no head.
  const std::int64_t forward = std::int64_t{2} * 3 * 2048 * (n * 768 + std::int64_t{4096} * 2048);
  CHECK(program.model_flops.value() == 3 * forward);
}

TEST_CASE("a ring with capacity multiplies and moves its places", "[program][block]") {
  const Words ring{"ici_expert_parallelism=8", "use_ring_of_experts=true", "capacity_factor=1.25",
                   "use_custom_sort_vjp=false"};
  const BlockSums sums = block_sums_of(lower(with_dispatch("ring", ring), Prefetch::layer));
  const std::int64_t places = n * 5 / 4;
  CHECK(sums.products.at("gmm_up").m == places);
  CHECK(sums.scatter_added == 2 * places * row);
  // Tokens and choices are gathered, results and gradients of tokens scattered.
  CHECK(sums.sent.at("gather_tokens") == 7 * 4096 * row);
  CHECK(sums.sent.at("gather_choices") == 7 * 4096 * 16 * 4);
  CHECK(sums.sent.at("reduce_outputs") == 7 * 4096 * row);
  CHECK(sums.sent.at("reduce_tokens") == 7 * 4096 * row);
  CHECK(!sums.sent.contains("gather_logits"));
  // The older ring: six more passes over the slots of all.
  const BlockSums legacy =
      block_sums_of(lower(with_dispatch("ring_legacy", ring), Prefetch::layer));
  CHECK(legacy.gathered - sums.gathered == 6 * 8 * n * row);
  CHECK(legacy.scatter_added == sums.scatter_added);
  CHECK(legacy.sent == sums.sent);
}

TEST_CASE("an all-to-all block exchanges its slots", "[program][block]") {
  const BlockSums sums = block_sums_of(
      lower(with_dispatch("ragged_a2a", {"ici_expert_parallelism=8"}), Prefetch::layer));
  for (const char* name : {"dispatch", "combine", "dispatch_back", "combine_back"})
    CHECK(sums.sent.at(name) == n * row / 8 * 7);
  CHECK(sums.products.at("gmm_up").m == n);
}
