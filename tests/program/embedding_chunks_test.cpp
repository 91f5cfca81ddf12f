// A ring of experts in slices of the embedding.
#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

StepProgram program_of(const char* model, std::int64_t slices, const char* policy = "full") {
  return lower(plan_of(job(model, model == std::string("qwen3-30b-a3b") ? "v5p-32" : "v5p-128",
                           {"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1",
                            "use_ring_of_experts=true", "use_gmm_v2=true", "use_tokamax_gmm=true",
                            std::string("remat_policy=") + policy,
                            "num_moe_emb_chunks=" + std::to_string(slices)})),
               Prefetch::layer);
}

}  // namespace

TEST_CASE("slices of the embedding send and multiply what the whole does",
          "[program][ep][chunks]") {
  for (const char* model : {"qwen3-30b-a3b", "deepseek3-671b"}) {
    for (const char* policy : {"full", "none"}) {
      const Sums whole = sums_of(program_of(model, 0, policy));
      for (const std::int64_t n : {2, 4}) {
        const Sums slices = sums_of(program_of(model, n, policy));
        CHECK(slices.sent == whole.sent);
        CHECK(slices.executed == whole.executed);
        for (const auto& [name, runs] : whole.runs) {
          INFO(name);
          const bool sliced = name.ends_with("gather_tokens") || name.ends_with("reduce_tokens");
          CHECK(slices.runs.at(name) == (sliced ? n * runs : runs));
        }
      }
    }
  }
}

TEST_CASE("partial sums pass through HBM between the slices", "[program][ep][chunks]") {
  // Qwen3-30B-A3B: 48 layers, n = 2048 x 8 rows, 2 F = 1536 sums in float32, written and read once
  // between each pair of slices. Everything else is read and written as often as in the whole.
  const Sums whole = sums_of(program_of("qwen3-30b-a3b", 0));
  for (const std::int64_t n : {2, 4, 8}) {
    const Sums slices = sums_of(program_of("qwen3-30b-a3b", n));
    const std::int64_t sums = std::int64_t{48} * 2 * (n - 1) * 2048 * 8 * 1536 * 4;
    CHECK(slices.hbm.at("forward gmm_up") == whole.hbm.at("forward gmm_up") + Bytes(sums));
  }
}

TEST_CASE("one slice is the whole", "[program][ep][chunks]") {
  const Sums one = sums_of(program_of("qwen3-30b-a3b", 1));
  const Sums whole = sums_of(program_of("qwen3-30b-a3b", 0));
  CHECK(one.sent == whole.sent);
  CHECK(one.hbm == whole.hbm);
}
