// A ring of experts in chunks of the tokens.
#include <catch2/catch.hpp>
#include <map>

#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

Words ring_words(Words more = {}) {
  Words words{"ici_expert_parallelism=4", "ici_fsdp_parallelism=-1", "use_ring_of_experts=true"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

StepProgram program_of(const char* model, const Words& more, Prefetch prefetch = Prefetch::layer) {
  return lower(plan_of(job(model, "v5p-32", ring_words(more))), prefetch);
}

}  // namespace

TEST_CASE("chunks send and multiply what the whole does", "[program][ep][chunks]") {
  for (const char* policy : {"full", "none"}) {
    const std::string remat = std::string("remat_policy=") + policy;
    const Sums whole = sums_of(program_of("qwen3-30b-a3b", {remat}));
    for (const std::int64_t n : {2, 4, 16}) {
      const Sums chunks = sums_of(
          program_of("qwen3-30b-a3b", {remat, "num_moe_token_chunks=" + std::to_string(n)}));
      CHECK(chunks.sent == whole.sent);
      CHECK(chunks.executed == whole.executed);
      CHECK(chunks.model == whole.model);
      for (const auto& [name, runs] : whole.runs) {
        const bool over_tokens =
            name.find("tokens") != std::string::npos || name.find("logits") != std::string::npos ||
            name.ends_with("gather_gradients") || name.ends_with("reduce_outputs");
        INFO(name);
        CHECK(chunks.runs.at(name) == (over_tokens ? n * runs : runs));
      }
    }
  }
}

TEST_CASE("one chunk is the whole", "[program][ep][chunks]") {
  const StepProgram whole = program_of("mixtral-8x7b", {});
  const StepProgram one = program_of("mixtral-8x7b", {"num_moe_token_chunks=1"});
  CHECK(sums_of(one).sent == sums_of(whole).sent);
  CHECK(one.buffers.size() == whole.buffers.size());
}

TEST_CASE("chunks of a scored router gather both tables", "[program][ep][chunks]") {
  const Sums sums = sums_of(
      lower(plan_of(job("deepseek3-671b", "v5p-128", ring_words({"num_moe_token_chunks=4"}))),
            Prefetch::kernel));
  // 58 MoE layers, 4 chunks, 3/4 of P T E bf16 logits: T = 2048, E = 256.
  CHECK(sums.runs.at("forward gather_scores") == 58 * 4);
  CHECK(sums.sent.at("forward gather_scores") == Bytes(std::int64_t{58} * 3 * 2048 * 256 * 2));
  CHECK(sums.sent.at("forward gather_logits") == sums.sent.at("forward gather_scores"));
}

TEST_CASE("buffers of one chunk are live at a time, gathered tokens of two",
          "[program][ep][chunks]") {
  const auto forward_peak = [](std::int64_t n) {
    const StepProgram program =
        program_of("qwen3-30b-a3b", {"num_moe_token_chunks=" + std::to_string(n)});
    Bytes rows;
    Bytes tokens;
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name == "full/moe rows_in" || buffer.name == "full/moe rows_in@0")
        rows = buffer.bytes;
      if (buffer.name == "full/moe all_tokens" || buffer.name == "full/moe all_tokens@1")
        tokens = buffer.bytes;
      CHECK(buffer.name != "full/moe all_tokens@2");
    }
    return std::pair(rows, tokens);
  };
  // P n rows of D = 2048 in bf16, P = 4, n = 2048 x 8; P T tokens.
  CHECK(forward_peak(1) == std::pair(Bytes(std::int64_t{4} * 2048 * 8 * 2048 * 2),
                                     Bytes(std::int64_t{4} * 2048 * 2048 * 2)));
  CHECK(forward_peak(8) == std::pair(Bytes(std::int64_t{4} * 2048 * 2048 * 2),
                                     Bytes(std::int64_t{4} * 256 * 2048 * 2)));
}
