// What expert parallelism sends.
#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

struct Traffic {
  std::int64_t count = 0;
  Bytes payload;  // of one
};

std::map<std::string, Traffic> traffic_over_expert(const StepProgram& program) {
  std::map<std::string, Traffic> all;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Collective>(&leaf.work);
    if (work == nullptr || work->mesh_axes != std::vector<std::string>{"expert"}) return;
    Traffic& one = all[std::string(name(leaf.pass)) + " " + leaf.name];
    one.count += times;
    if (one.count > times) CHECK(one.payload == work->payload);  // layers are alike
    one.payload = work->payload;
  });
  return all;
}

}  // namespace

TEST_CASE("ragged all-to-all: two exchanges forward, two backward, two again", "[program][ep]") {
  // Qwen3-30B-A3B: 48 layers, 128 experts, k = 8, D = 2048. T = 2048 tokens, P = 4.
  const std::int64_t T = 2048;
  const Bytes rows(T * 8 * 2048 * 2);  // T k D in bf16
  const Words ep{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1"};
  for (const char* policy : {"full", "none"}) {
    Words words = ep;
    words.push_back(std::string("remat_policy=") + policy);
    const bool remat = std::string(policy) == "full";
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const auto all =
          traffic_over_expert(lower(plan_of(job("qwen3-30b-a3b", "v5p-32", words)), prefetch));
      for (const char* name :
           {"forward dispatch", "forward combine", "backward dispatch_back",
            "backward combine_back", "recompute dispatch", "recompute combine"}) {
        INFO(name);
        if (std::string(name).starts_with("recompute") && !remat) {
          CHECK(!all.contains(name));
          continue;
        }
        CHECK(all.at(name).count == 48);
        CHECK(all.at(name).payload == rows);
      }
      // Who sends how much to whom: P counts of each of the P devices, then E.
      CHECK(all.at("forward shard_counts").payload == Bytes(4 * 4 * 4));
      CHECK(all.at("forward expert_counts").payload == Bytes(4 * 4 * 128));
      // The gate is sharded over fsdp alone: its gradient is summed over the expert axis.
      CHECK(all.at("backward reduce_gradients").payload == Bytes(2048 * 128 * 4 / 4));
      CHECK(all.size() == (remat ? 11 : 7));
    }
  }
}

TEST_CASE("a ring of experts gathers all tokens of the group and scatters their sums",
          "[program][ep]") {
  // DeepSeek-V3: 58 MoE layers of 256 experts, D = 7168. T = 2048 tokens, P = 4.
  const std::int64_t gathered = std::int64_t{4} * 2048 * 7168 * 2;  // P T D in bf16
  const std::int64_t logits = std::int64_t{4} * 2048 * 256 * 2;     // P T E
  const auto all =
      traffic_over_expert(lower(plan_of(job("deepseek3-671b", "v5p-128",
                                            {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                                             "mtp_num_layers=0", "use_ring_of_experts=true"})),
                                Prefetch::layer));
  const auto check = [&](const char* name, std::int64_t bytes) {
    INFO(name);
    REQUIRE(all.contains(name));
    CHECK(all.at(name).count == 58);
    CHECK(all.at(name).payload == Bytes(bytes));
  };
  check("forward gather_tokens", gathered);
  check("forward gather_logits", logits);
  check("forward gather_scores", logits);  // before the bias: V3 weighs by these
  check("forward reduce_outputs", gathered);
  check("recompute gather_tokens", gathered);
  check("recompute gather_logits", logits);
  check("recompute gather_scores", logits);
  check("backward gather_gradients", gathered);
  check("backward reduce_tokens", gathered);
  check("backward reduce_logits", logits);  // only one of the two carries a gradient
  // The sum over experts is not read again: its reduce-scatter is dead code in the recomputation.
  CHECK(all.contains("backward reduce_gradients"));  // of the gate
  CHECK(all.size() == 11);
}

TEST_CASE("a softmax router gathers one set of logits, a hash layer token ids as well",
          "[program][ep]") {
  const auto softmax =
      traffic_over_expert(lower(plan_of(job("mixtral-8x7b", "v5p-32",
                                            {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                                             "use_ring_of_experts=true"})),
                                Prefetch::layer));
  CHECK(!softmax.contains("forward gather_scores"));
  PlanRequest hypothetical = request(
      job("deepseek4-284b", "v5p-128",
          {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "use_ring_of_experts=true"}));
  Node ids;
  ids.kind = Node::Kind::sequence;
  Node id;
  id.kind = Node::Kind::scalar;
  id.text = "hash-with-ring";
  ids.items.push_back(id);
  hypothetical.own["allow"] = ids;
  const auto hash = traffic_over_expert(lower(make_plan(hypothetical), Prefetch::layer));
  CHECK(hash.at("forward gather_token_ids").count == 3);
  CHECK(hash.at("forward gather_token_ids").payload == Bytes(4 * 4 * 2048));  // int32 of P T
}

TEST_CASE("plain permutations move whole receive buffers, ragged ones the rows in them",
          "[program][ep]") {
  // Qwen3-30B-A3B with P = 4: n = 2048 x 8 slots, and R = n min(P, E / k) = 4 n rows of D = 2048.
  const std::int64_t row = 2048 * 2;
  const std::int64_t n = 2048 * 8;
  for (const bool ragged : {false, true}) {
    const StepProgram program =
        lower(plan_of(job("qwen3-30b-a3b", "v5p-32",
                          {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                           ragged ? "use_ragged_sort=true" : "use_ragged_sort=false"})),
              Prefetch::layer);
    std::map<std::string, Bytes> hbm;
    std::map<std::string, Bytes> gathered;
    std::map<std::string, Bytes> scattered;
    std::map<std::string, Bytes> buffers;
    for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
      if (const auto* work = std::get_if<Compute>(&leaf.work)) {
        gathered[leaf.name] = work->gathered;
        scattered[leaf.name] = work->scatter_added;
      }
      if (leaf.pass != Pass::forward) return;
      if (const auto* work = std::get_if<Compute>(&leaf.work)) hbm[leaf.name] = work->hbm_bytes;
      for (const BufferId id : leaf.writes)
        buffers[buffer_of(program, id).name] = buffer_of(program, id).bytes;
    });
    const std::int64_t moved = ragged ? n : 4 * n;
    // Read and written; an order and its inverse tell where each row goes.
    CHECK(hbm.at("local_sort").value() == 2 * moved * row + 2 * moved * 4);
    CHECK(hbm.at("local_unsort").value() == 2 * moved * row + 2 * moved * 4);
    CHECK(gathered.at("local_sort").value() == 2 * moved * row);
    // T tokens come in, n rows go out.
    CHECK(hbm.at("fan_out").value() == (2048 + n) * row);
    CHECK(gathered.at("fan_out").value() == n * row);
    CHECK(hbm.at("sort").value() == 2 * n * row + 2 * n * 4);
    CHECK(gathered.at("sort").value() == 2 * n * row);
    CHECK(gathered.at("fan_in").value() == n * row);
    // Backward: rows are fanned out again and each is read for the gradient of its weight; the
    // custom gradient of a sort is another gather.
    CHECK(gathered.at("fan_in_back").value() == 2 * n * row);
    CHECK(gathered.at("sort_back").value() == 2 * n * row);
    CHECK(scattered.at("sort_back").value() == 0);
    // The experts read n rows and 32 kernels [D, F], F = 768, twice; they write n gates and ups.
    CHECK(hbm.at("gmm_up").value() == n * row + 2 * 32 * 2048 * 768 * 2 + n * 2 * 768 * 2);
    CHECK(buffers.at("full/moe received").value() == 4 * n * row);
    CHECK(buffers.at("full/moe rows_out").value() == 4 * n * row);
  }
}

TEST_CASE("a device sends all but its own share", "[program][ep]") {
  // n = 8 of 64 MiB: 56 MiB; an all-reduce sends that twice.
  const Bytes payload(64 << 20);
  for (const auto kind :
       {CollectiveKind::all_gather, CollectiveKind::reduce_scatter, CollectiveKind::all_to_all}) {
    CHECK(Collective{kind, {"fsdp"}, 8, payload}.sent() == Bytes(56 << 20));
  }
  CHECK(Collective{CollectiveKind::all_reduce, {"fsdp"}, 8, payload}.sent() == Bytes(112 << 20));
  CHECK(Collective{CollectiveKind::all_gather, {"fsdp"}, 1, payload}.sent() == Bytes(0));
}

TEST_CASE("without its custom gradient a sort is undone by adding rows through an index",
          "[program][ep]") {
  // Qwen3-30B-A3B, every expert here: n = 2048 x 8 rows of D = 2048 are sorted and unsorted.
  const std::int64_t rows = 2048 * 8 * 2048 * 2;
  std::map<std::string, std::int64_t> scattered;
  const auto program = lower(plan_of(job("qwen3-30b-a3b", "v5p-32", {"use_custom_sort_vjp=false"})),
                             Prefetch::layer);
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || work->scatter_added.value() == 0) return;
    scattered[leaf.name] = work->scatter_added.value();
    CHECK(work->gathered.value() == 0);
  });
  CHECK(scattered ==
        std::map<std::string, std::int64_t>{{"sort_back", rows}, {"unsort_back", rows}});
}
