// Context parallelism: which blocks each rank visits, bytes in closed form, and what must not
// change.
#include "program/context_parallel.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// Of the products of weights: attention kernels visit other blocks when a sequence is split.
std::int64_t multiplied_by_weights(const StepProgram& program) {
  std::int64_t flops = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work == nullptr || work->kind == OpKind::attention) return;
    for (const Matmul& p : work->matmuls) flops += 2 * p.count * p.m * p.k * p.n * times;
  });
  return flops;
}

std::int64_t blocks_of_core(const StepProgram& program) {
  std::int64_t steps = 0;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    const auto* work = std::get_if<Compute>(&leaf.work);
    if (work != nullptr && leaf.name == "core") steps += work->grid_steps * times;
  });
  return steps;
}

// Llama 3.1 8B: 32 layers, 32 heads and 8 key/value heads of 128.
Plan in_parts(Words more) {
  Words words{"ici_fsdp_parallelism=-1", "attention=flash",   "use_tokamax_splash=true",
              "max_target_length=8192",  "remat_policy=none", "per_device_batch_size=0.25"};
  words.insert(words.end(), more.begin(), more.end());
  return plan_of(job("llama3.1-8b", "v5p-128", words));
}

const Words gathered{"ici_context_parallelism=4"};
const Words unbalanced{"ici_context_parallelism=4", "context_parallel_load_balance=false"};
const Words ring{"ici_context_parallelism=4", "context_parallel_strategy=ring"};
const Words ulysses{"ici_context_usp_ulysses_parallelism=4", "context_parallel_strategy=ulysses"};
const Words usp{"ici_context_parallelism=2", "ici_context_usp_ulysses_parallelism=2",
                "context_parallel_strategy=usp", "allow_split_physical_axes=true"};
const std::vector<Words> strategies{gathered, unbalanced, ring, ulysses, usp};

}  // namespace

TEST_CASE("each rank visits the blocks of its own queries", "[program][context]") {
  // By the definition, pair by pair, on every rank; the program is that of the slowest.
  const std::int64_t S = 64;
  const BlockShape block{4, 8};
  for (const std::int64_t R : {1, 2, 4, 8}) {
    for (const bool balanced : {false, true}) {
      ContextSplit split;
      split.keys = R;
      split.balanced = balanced;
      std::vector<std::set<std::pair<std::int64_t, std::int64_t>>> blocks(
          static_cast<std::size_t>(R));
      for (std::int64_t t = 0; t < S; ++t) {
        const std::int64_t run = t / (S / (2 * R));  // of 2 R
        const std::int64_t rank = !balanced ? run / 2 : run < R ? run : 2 * R - 1 - run;
        for (std::int64_t s = 0; s <= t; ++s)
          blocks[static_cast<std::size_t>(rank)].insert({t / block.queries, s / block.keys});
      }
      std::size_t most = 0;
      std::size_t all = 0;
      for (const auto& one : blocks) {
        most = std::max(most, one.size());
        all += one.size();
      }
      INFO(R << " " << balanced);
      const Visibility causal{};
      CHECK(most_visited_blocks(split, causal, 0, S, block) == static_cast<std::int64_t>(most));
      // Nothing is visited twice or left out.
      CHECK(static_cast<std::int64_t>(all) == visited_blocks(causal, {0, S}, block));
      // An early and a late run together see S + S / 2R keys, whichever the rank.
      if (balanced) CHECK(most * static_cast<std::size_t>(R) == all);
      // A ring meets every block.
      split.ring = true;
      CHECK(most_visited_blocks(split, causal, 0, S, block) == S / R / 4 * (S / 8));
    }
  }
}

TEST_CASE("keys travel whole, heads a Uth, in closed form", "[program][context]") {
  // 64 devices x 1/4 sequence: 16 sequences on 16 groups of C = 4. One sequence of S = 8192 tokens
  // is on each group, S / 4 tokens of it on each device. Per token and layer: q and context have
  // 32 x 128 = 4096 elements, k and v together 2 x 8 x 128 = 2048; 2 bytes each.
  const std::int64_t L = 32;
  const std::int64_t q = 8192 / 4 * 4096 * 2;   // one device's
  const std::int64_t kv = 8192 / 4 * 2048 * 2;  // one device's
  const auto both = [](const Words& words) {
    const StepProgram program = lower(in_parts(words), Prefetch::layer);
    return std::pair{sent(program, Pass::forward), sent(program, Pass::backward)};
  };
  for (const Words& words : {gathered, unbalanced}) {
    auto [forward, backward] = both(words);
    // Each device receives the other 3 parts, and returns their gradients.
    CHECK(forward["gather_keys"] == L * kv * 3);
    CHECK(backward["gather_keys_back"] == L * kv * 3);
  }
  {
    auto [forward, backward] = both(ring);
    // As many bytes, 3 times a part; backward with the gradients.
    CHECK(forward["pass_keys"] == L * kv * 3);
    CHECK(backward["pass_keys_back"] == L * kv * 3 * 2);
  }
  {
    auto [forward, backward] = both(ulysses);
    // 3/4 of everything goes to the devices of the other heads.
    CHECK(forward["queries_to_heads"] == L * q / 4 * 3);
    CHECK(forward["keys_to_heads"] == L * kv / 4 * 3);
    CHECK(forward["context_from_heads"] == L * q / 4 * 3);
    CHECK(backward["queries_to_heads_back"] == L * q / 4 * 3);
    CHECK(backward["keys_to_heads_back"] == L * kv / 4 * 3);
    CHECK(backward["context_from_heads_back"] == L * q / 4 * 3);
  }
  {
    auto [forward, backward] = both(usp);
    // Half to the other heads; then one part of 2, twice the tokens and half the heads, once.
    CHECK(forward["queries_to_heads"] == L * q / 2);
    CHECK(forward["keys_to_heads"] == L * kv / 2);
    CHECK(forward["pass_keys"] == L * kv);
    CHECK(backward["pass_keys_back"] == L * kv * 2);
  }
}

TEST_CASE("FLOPs of all devices are the model's, however sequences are split",
          "[program][context]") {
  Plan whole = in_parts({"per_device_batch_size=1"});
  const FlopCount sequence = model_flops(op_groups(whole.model, {8192})).train;
  const StepProgram unsplit = lower(whole, Prefetch::layer);
  for (const Words& words : strategies) {
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      INFO(words.back());
      const Plan plan = in_parts(words);
      const StepProgram program = lower(plan, prefetch);
      // 64 devices, 16 sequences: a quarter on each, as many FLOPs and tokens.
      CHECK(program.model_flops * plan.devices() == sequence * 16);
      CHECK(program.tokens == 2048);
      CHECK(multiplied_by_weights(program) * 4 == multiplied_by_weights(unsplit));
    }
  }
}

TEST_CASE("blocks of the core: balanced a Cth, unbalanced the last rank's, a ring all",
          "[program][context]") {
  // Blocks of 512: a sequence has 16 x 16, of which 16 * 17 / 2 = 136 hold a visible pair. The last
  // of 4 ranks has rows 12 to 15, which visit 13 + 14 + 15 + 16 = 58; a ring visits 4 * 16 = 64.
  const std::int64_t heads = 32 * 32;  // of all layers
  const auto blocks = [](const Words& words) {
    return blocks_of_core(lower(in_parts(words), Prefetch::layer));
  };
  CHECK(blocks(gathered) == heads * 136 / 4);
  CHECK(blocks(unbalanced) == heads * 58);
  CHECK(blocks(ring) == heads * 64);
  // All tokens, a quarter of the heads; half the rows against all columns, half of the heads.
  CHECK(blocks(ulysses) == heads / 4 * 136);
  CHECK(blocks(usp) == heads / 2 * 128);
}

TEST_CASE("more context needs less memory", "[program][context]") {
  for (const std::string strategy : {"all_gather", "ring"}) {
    std::optional<Bytes> before;
    for (const char* degree : {"1", "2", "4", "8"}) {
      INFO(strategy << " " << degree);
      // One sequence on 8 chips and a larger part of it on each, all else being equal.
      const Plan plan = plan_of(job(
          "llama3.1-8b", "v5p-128",
          {"ici_fsdp_parallelism=-1", std::string("ici_context_parallelism=") + degree,
           "context_parallel_strategy=" + strategy, "attention=flash", "use_tokamax_splash=true",
           "max_target_length=8192", "allow_split_physical_axes=true",
           std::string("per_device_batch_size=") + (std::string(degree) == "1"   ? "1"
                                                    : std::string(degree) == "2" ? "0.5"
                                                    : std::string(degree) == "4" ? "0.25"
                                                                                 : "0.125")}));
      const Bytes temp = memory_peak(lower(plan, Prefetch::layer)).temp;
      if (before) CHECK(temp < *before);
      before = temp;
    }
  }
}

TEST_CASE("compressed attention gathers keys, entries and index entries", "[program][context]") {
  // DeepSeek-V4-Flash, 4096 tokens on 2 devices: rows of 512 elements, one per token in each layer,
  // one per 4 tokens in 21 layers, one per 128 in 20; the indexer's have 128 elements and no
  // gradient.
  const Plan plan =
      plan_of(job("deepseek4-284b", "v5p-128",
                  {"ici_context_parallelism=2", "ici_fsdp_parallelism=32", "max_target_length=4096",
                   "per_device_batch_size=0.5", "allow_split_physical_axes=true"}));
  REQUIRE(!not_lowered(plan));
  const StepProgram program = lower(plan, Prefetch::layer);
  const std::int64_t row = 512 * 2 / 2;  // half of it is sent
  const std::int64_t keys = 43 * 4096 * row + 21 * 1024 * row + 20 * 32 * row;
  CHECK(sent(program, Pass::forward)["gather_keys"] == keys);
  CHECK(sent(program, Pass::backward)["gather_keys_back"] == keys);
  CHECK(sent(program, Pass::forward)["gather_index_entries"] == 21 * 1024 * 128);
  CHECK(!sent(program, Pass::backward).contains("gather_index_entries_back"));
  CHECK(program.model_flops * plan.devices() ==
        model_flops(op_groups(plan.model, {4096})).train * 32);
}
