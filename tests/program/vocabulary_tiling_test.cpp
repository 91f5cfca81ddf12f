#include <catch2/catch.hpp>

#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"

namespace meshsim {
namespace {

using testing::job;
using testing::plan_of;

StepProgram tiled(int tiles, bool once, Prefetch prefetch) {
  return lower(plan_of(job("llama3.1-8b", "v5p-128",
                           {"num_vocab_tiling=" + std::to_string(tiles),
                            std::string("vocab_tiling_ag_once=") + (once ? "true" : "false")})),
               prefetch);
}

// Runs of the leaves called `name`, and what they sent or computed.
struct Runs {
  std::int64_t count = 0;
  FlopCount flops;
  Bytes payload;
};

Runs runs(const StepProgram& program, const std::string& name, const std::string& kind, Pass pass) {
  Runs all;
  for_each_leaf(program.root, [&](const Leaf& leaf, std::int64_t times) {
    if (leaf.name != name || leaf.layer_kind != kind || leaf.pass != pass) return;
    all.count += times;
    if (const auto* work = std::get_if<Compute>(&leaf.work)) all.flops += work->model_flops * times;
    if (const auto* work = std::get_if<Collective>(&leaf.work))
      all.payload += work->payload * times;
  });
  return all;
}

TEST_CASE("tiles share the head's work and shrink its logits", "[program][vocabulary]") {
  const StepProgram whole = tiled(1, false, Prefetch::layer);
  for (const int tiles : {2, 8}) {
    INFO(tiles << " tiles");
    const StepProgram program = tiled(tiles, false, Prefetch::layer);
    // The same products in `tiles` parts, and once more in the backward pass.
    CHECK(runs(program, "lm_head", "global", Pass::forward).flops ==
          runs(whole, "lm_head", "global", Pass::forward).flops);
    CHECK(runs(program, "lm_head", "global", Pass::forward).count == tiles);
    CHECK(runs(program, "lm_head", "global", Pass::recompute).flops ==
          runs(whole, "lm_head", "global", Pass::forward).flops);
    CHECK(runs(program, "lm_head_dw", "global", Pass::backward).flops ==
          runs(whole, "lm_head_dw", "global", Pass::backward).flops);
    CHECK(program.model_flops == whole.model_flops);
    CHECK(memory_peak(program).temp < memory_peak(whole).temp);
    // 2048 tokens x 128,256 logits in bfloat16 and float32, a tile at a time.
    Bytes logits;
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name == "global logits_fp32") logits = std::max(logits, buffer.bytes);
    }
    CHECK(logits == Bytes(std::int64_t{2048} * 128'256 * 4 / tiles));
  }
}

TEST_CASE("each tile gathers the head's kernel, or one gather serves all",
          "[program][vocabulary]") {
  // The kernel [4096, 128256] in bfloat16.
  const std::int64_t kernel = std::int64_t{4096} * 128'256 * 2;
  const auto gathered = [&](const StepProgram& program) {
    Bytes forward = runs(program, "gather_weights", "global", Pass::forward).payload;
    return forward + runs(program, "gather_weights", "global", Pass::recompute).payload +
           runs(program, "gather_weights", "global", Pass::backward).payload;
  };
  // The embedding table, as large, is gathered once beside it.
  CHECK(gathered(tiled(1, false, Prefetch::layer)).value() == 2 * kernel);
  CHECK(gathered(tiled(4, true, Prefetch::layer)).value() == 2 * kernel);
  // Forward and recomputation of each of 4 tiles; the backward pass uses the latter's copy.
  CHECK(gathered(tiled(4, false, Prefetch::layer)).value() == (1 + 2 * 4) * kernel);
}

}  // namespace
}  // namespace meshsim
