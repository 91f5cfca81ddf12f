// Tensor parallelism of experts: an Xth of each expert's width on each of X devices.
#include <catch2/catch.hpp>
#include <map>

#include "program/live_memory.hpp"
#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// 64 chips: FSDP 4, EP 4, TP 4 unless `more` says otherwise; no recomputation.
Plan split(const std::string& model, Words more = {}) {
  Words words{"ici_fsdp_parallelism=-1", "ici_expert_parallelism=4", "ici_tensor_parallelism=4",
              "remat_policy=none", "allow_split_physical_axes=true"};
  for (std::string& word : more) {
    const std::string key = word.substr(0, word.find('=') + 1);
    std::erase_if(words, [&](const std::string& old) { return old.starts_with(key); });
    words.push_back(std::move(word));
  }
  return plan_of(job(model, "v5p-128", words));
}

}  // namespace

TEST_CASE("rows come whole to the experts and return by columns", "[program][tensor]") {
  // Mixtral 8x7B: 32 layers, 8 experts, 2 a token, D = 4096. 64 devices with a sequence of 2048
  // each: T = 8192 tokens and n = 2 T slots on every group of X = 4.
  const std::int64_t L = 32;
  const std::int64_t D = 4096;
  const std::int64_t T = 4 * 2048;
  const std::int64_t n = 2 * T;
  {
    const StepProgram program = lower(split("mixtral-8x7b"), Prefetch::layer);
    Bag forward = sent(program, Pass::forward);
    Bag backward = sent(program, Pass::backward);
    // Attention and the experts are entered, by T D elements of which 3/4 are received; attention,
    // the head (and the table) are left in the same way, the experts not.
    const std::int64_t stream = T * D * 2 / 4 * 3;
    CHECK(forward["enter_block"] == (2 * L + 1) * stream);
    CHECK(forward["leave_block"] == (L + 1) * stream);
    // The gate contracts the columns that are there: the sums of T x 8 logits meet, both ways.
    CHECK(forward["router_sum"] == L * 2 * T * 8 * 2 / 4 * 3);
    CHECK(backward["router_sum_back"] == forward["router_sum"]);
    // To P = 4 expert shards: n rows, of which 3/4 leave; back an Xth of them.
    CHECK(forward["dispatch"] == L * n * D * 2 / 4 * 3);
    CHECK(forward["combine"] == L * n * D / 4 * 2 / 4 * 3);
    CHECK(backward["dispatch_back"] == forward["dispatch"]);
    CHECK(backward["combine_back"] == forward["combine"]);
    // The buffer of n min(P, E / k) = 4 n rows is added up whole.
    CHECK(forward["reduce_rows"] == L * 4 * n * D * 2 / 4 * 3);
    CHECK(backward["reduce_rows_back"] == forward["reduce_rows"]);
  }
  {
    const StepProgram program =
        lower(split("mixtral-8x7b", {"use_ring_of_experts=true"}), Prefetch::layer);
    Bag forward = sent(program, Pass::forward);
    // The tokens of 3 others arrive whole; an Xth of the columns of their sums returns.
    CHECK(forward["gather_tokens"] == L * 3 * T * D * 2);
    CHECK(forward["reduce_outputs"] == L * 3 * T * D / 4 * 2);
    // P n rows.
    CHECK(forward["reduce_rows"] == L * 4 * n * D * 2 / 4 * 3);
  }
}

TEST_CASE("places of a capacity travel by columns", "[program][tensor]") {
  // T = 4 sequences of S = 2048 tokens on every group of X = 4; C = ceil(2048 x 2 / 8) x 1.25 = 640
  // places of each of 8 experts in every sequence: 4 x 8 x 640 rows.
  const std::int64_t L = 32;
  const std::int64_t D = 4096;
  const std::int64_t rows = 4 * 8 * 640;
  const StepProgram program = lower(
      split("mixtral-8x7b", {"sparse_matmul=false", "capacity_factor=1.25"}), Prefetch::layer);
  Bag forward = sent(program, Pass::forward);
  Bag backward = sent(program, Pass::backward);
  // To and from P = 4 expert shards a fourth of the columns, 3/4 of which leave the device.
  CHECK(forward["dispatch"] == L * rows * D / 4 * 2 / 4 * 3);
  CHECK(forward["combine"] == forward["dispatch"]);
  CHECK(backward["dispatch_back"] == forward["dispatch"]);
  // Gathered for the experts, added up after them.
  CHECK(forward["gather_rows"] == L * rows * D * 2 / 4 * 3);
  CHECK(forward["reduce_rows"] == forward["gather_rows"]);
  CHECK(backward["gather_rows_back"] == forward["gather_rows"]);
  CHECK(backward["reduce_rows_back"] == forward["gather_rows"]);
  // The gradient of [4 x 2048, 8 x 640] masks: an all-reduce in bf16.
  CHECK(backward["sum_mask_gradients"] == L * 4 * 2048 * (8 * 640) * 2 * 2 / 4 * 3);
  // Only attention and the head are entered by whole tokens.
  CHECK(forward["enter_block"] == (L + 1) * (4 * 2048 * D * 2 / 4 * 3));
}

TEST_CASE("FLOPs of experts do not depend on how their width is split", "[program][tensor]") {
  for (const std::string& model : {std::string("mixtral-8x7b"), std::string("deepseek3-671b"),
                                   std::string("deepseek2-16b"), std::string("gpt-oss-20b")}) {
    for (const Words& more :
         {Words{}, Words{"use_ring_of_experts=true"}, Words{"ici_expert_parallelism=1"},
          Words{"sparse_matmul=false", "capacity_factor=1.25"},
          Words{"use_ring_of_experts=true", "num_moe_token_chunks=4"}}) {
      if (model == "gpt-oss-20b" && more.size() > 0 && more[0] == "sparse_matmul=false") continue;
      INFO(model << " " << (more.empty() ? "" : more.back()));
      const Plan plan = split(model, more);
      REQUIRE(!not_lowered(plan));
      for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
        const StepProgram program = lower(plan, prefetch);
        CHECK(program.model_flops * plan.devices() ==
              model_flops(op_groups(plan.model, {2048})).train * 64);
      }
    }
  }
}

TEST_CASE("experts split by width need less memory for weights", "[program][tensor]") {
  // 16 experts' kernels of one layer: an Xth each of the gathered copy, of the gradient that a
  // kernel sums and of the one that is reduced.
  std::map<std::string, std::int64_t> before;  // by buffer
  for (const char* degree : {"1", "2", "4"}) {
    INFO(degree);
    const StepProgram program = lower(
        split("mixtral-8x7b", {std::string("ici_tensor_parallelism=") + degree}), Prefetch::layer);
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name.find("MoeBlock_0/wo") == std::string::npos) continue;
      std::int64_t& last = before[buffer.name + buffer.category];
      if (last > 0 && std::string(degree) != "1") CHECK(buffer.bytes.value() * 2 == last);
    }
    for (const Buffer& buffer : program.buffers) {
      if (buffer.name.find("MoeBlock_0/wo") != std::string::npos)
        before[buffer.name + buffer.category] = buffer.bytes.value();
    }
  }
  CHECK(before.size() == 3);
}

TEST_CASE("what is not split yet says so", "[program][tensor]") {
  CHECK(not_lowered(split("mixtral-8x7b", {"sparse_matmul=false", "ici_expert_parallelism=1"})) ==
        "the dense path of experts without capacity with a tensor degree");
  CHECK(not_lowered(split("mixtral-8x7b",
                          {"ici_tensor_parallelism=1", "ici_tensor_sequence_parallelism=4"})) ==
        "mixtures of experts with a tensor_sequence degree");
}
