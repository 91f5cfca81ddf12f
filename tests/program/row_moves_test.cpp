// The sorts that tell rows where to go, and the copies of gathered experts.
#include "program/row_moves.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

struct Moves {
  Bytes gathered;
  std::int64_t sort_steps = 0;
  Bytes relaid;            // of gathered weights
  Bytes copied_gradients;  // of the kernels' sums
};

std::map<Pass, Moves> moves_of(const char* slice, const Words& words,
                               Prefetch prefetch = Prefetch::layer) {
  std::map<Pass, Moves> all;
  const StepProgram program = lower(plan_of(job("qwen3-30b-a3b", slice, words)), prefetch);
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr) return;
    CHECK(work->gathered + work->scatter_added <= work->hbm_bytes);
    Moves& of = all[leaf.pass];
    of.gathered += work->gathered * times;
    of.sort_steps += work->sort_steps * times;
    if (leaf.name == "relayout_weights") of.relaid += work->hbm_bytes * times;
    if (leaf.name == "copy_gradients") of.copied_gradients += work->hbm_bytes * times;
  });
  return all;
}

// Qwen3-30B-A3B: 48 layers, k = 8, D = 2048 in bf16; one sequence of 2048 tokens a device.
constexpr std::int64_t layers = 48;
constexpr std::int64_t slots = 2048 * 8;  // n

}  // namespace

TEST_CASE("a sorting network of m keys has L (L + 1) / 2 stages", "[program][rows]") {
  CHECK(sort_steps(1) == 0);
  CHECK(sort_steps(2) == 2 * 1);
  CHECK(sort_steps(8) == 8 * 6);   // 1 + 2 + 3 stages
  CHECK(sort_steps(9) == 9 * 10);  // as for 16 keys: 1 + 2 + 3 + 4
  CHECK(sort_steps(1024) == 1024 * 55);
}

TEST_CASE("slots are sorted twice, and receive buffers", "[program][rows]") {
  const auto steps = [](const Words& words, const char* slice = "v5p-32") {
    return moves_of(slice, words);
  };
  // n = 2^14 keys and their inverse: 14 x 15 / 2 = 105 stages each; again where the rows are
  // computed again.
  auto local = steps({"remat_policy=full"});
  CHECK(local[Pass::forward].sort_steps == layers * 2 * slots * 105);
  CHECK(local[Pass::recompute].sort_steps == layers * 2 * slots * 105);
  CHECK(local[Pass::backward].sort_steps == 0);
  const Words ep{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "remat_policy=none"};
  auto a2a = steps(ep);
  // R = n min(P, E / k) = 4 n = 2^16 keys: 136 stages.
  CHECK(a2a[Pass::forward].sort_steps == layers * 2 * (slots * 105 + 4 * slots * 136));
  CHECK(a2a[Pass::recompute].sort_steps == 0);
  Words words = ep;
  words.emplace_back("use_ring_of_experts=true");
  auto ring = steps(words);
  CHECK(ring[Pass::forward].sort_steps == layers * 2 * 4 * slots * 136);  // the slots of all
  // Chunks move as much; each sorts its share of the keys.
  words.emplace_back("num_moe_token_chunks=4");
  auto chunks = steps(words);
  CHECK(chunks[Pass::forward].gathered == ring[Pass::forward].gathered);
  CHECK(chunks[Pass::forward].sort_steps == layers * 2 * 4 * slots * 105);
}

TEST_CASE("gathered experts are copied into the layout of their products", "[program][rows]") {
  // 128 experts of 3 x 2048 x 768 in bf16, read and written: after the gather forward and the one
  // backward.
  constexpr std::int64_t elements = std::int64_t{128} * 3 * 2048 * 768;
  constexpr std::int64_t copy = 2 * elements * 2;
  // What a kernel sums in bf16 and in its own layout is copied back, in fp32.
  constexpr std::int64_t of_gradients = elements * (2 + 4);
  for (const char* policy : {"none", "full"}) {
    const std::string remat = std::string("remat_policy=") + policy;
    auto all = moves_of("v5p-32", {remat});
    CHECK(all[Pass::forward].relaid.value() == layers * copy);
    CHECK((all[Pass::backward].relaid + all[Pass::recompute].relaid).value() == layers * copy);
    CHECK(all[Pass::backward].copied_gradients.value() == layers * of_gradients);
    // Whole experts on each device of fsdp keep their layout; their dtype changes as they are
    // reduced.
    for (const char* dtype : {"weight_dtype=float32", "weight_dtype=bfloat16"}) {
      for (auto& [pass_of, moves] : moves_of("v5p-32", {remat, "shard_exp_on_fsdp=true", dtype})) {
        CHECK(moves.relaid == Bytes(0));
        CHECK(moves.copied_gradients == Bytes(0));
      }
    }
  }
  // Stage by stage, the backward pass uses what the recomputation gathered and copied: the
  // down-projection is computed again, since the weights of the sum need its rows.
  auto stages = moves_of("v5p-32", {"remat_policy=full"}, Prefetch::kernel);
  CHECK(stages[Pass::recompute].relaid.value() == layers * copy);
  CHECK(stages[Pass::backward].relaid == Bytes(0));
  CHECK(stages[Pass::backward].copied_gradients.value() == layers * of_gradients);
}
