// DeepSeek-V4 split over tensor axes: what of the streams is split, what is summed, and what every
// device keeps whole.
#include <catch2/catch.hpp>

#include "tests/program/jobs.hpp"
#include "tests/program/sums.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// V4-Flash on 64 chips with a sequence of 2048 each. MaxText's rules split the one head of keys,
// which JAX refuses; a rule that leaves it whole is needed.
Plan split_streams(Words more = {}) {
  Words words{"ici_tensor_parallelism=4", "ici_fsdp_parallelism=-1", "remat_policy=none",
              "logical_axis_rules=[[kv_heads, null]]"};
  for (std::string& word : more) {
    const std::string key = word.substr(0, word.find('=') + 1);
    std::erase_if(words, [&](const std::string& old) { return old.starts_with(key); });
    words.push_back(std::move(word));
  }
  return plan_of(job("deepseek4-284b", "v5p-128", words));
}

}  // namespace

TEST_CASE("V4's streams over four devices: sums and transfers in closed form",
          "[program][tensor]") {
  // 43 layers: 2 with a window only, 21 CSA, 20 HCA. D = 4096, k = 4 streams, T = 4 x 2048 tokens
  // on every group of X = 4.
  const std::int64_t L = 43;
  const std::int64_t T = 4 * 2048;
  const StepProgram program = lower(split_streams(), Prefetch::layer);
  Bag forward = sent(program, Pass::forward);
  Bag backward = sent(program, Pass::backward);
  // An all-gather and a reduce-scatter of T D bf16 send 3/4 of it. Every MLP and the head are
  // entered; attention, the shared expert and the table are left.
  const std::int64_t stream = T * 4096 * 2 / 4 * 3;
  CHECK(forward["enter_block"] == (L + 1) * stream);
  CHECK(forward["leave_block"] == (2 * L + 1) * stream);
  CHECK(backward["enter_block_back"] == forward["enter_block"]);
  CHECK(backward["leave_block_back"] == forward["leave_block"]);
  // An all-reduce of b bytes sends 2 x 3/4 b.
  const auto all_reduce = [&](std::int64_t numbers, std::int64_t bytes) {
    return T * numbers * bytes * 2 * 3 / 4;
  };
  // Twice a layer and once in the head: the squares of all streams (fp32). Twice a layer:
  // k^2 + 2 k = 24 mixing weights (bf16) and the squares of the collapsed stream.
  CHECK(forward["streams_norm"] == (2 * L + 1) * all_reduce(1, 4));
  CHECK(forward["mix_weights"] == 2 * L * all_reduce(24, 2));
  CHECK(forward["collapsed_norm"] == 2 * L * all_reduce(1, 4));
  CHECK(forward["head_weights"] == all_reduce(4, 4));
  // Backward (fp32): the k weights of the collapse, the k^2 + k of what is mixed and injected.
  CHECK(backward["collapse_weights_back"] == 2 * L * all_reduce(4, 4));
  CHECK(backward["mix_sums_back"] == 2 * L * all_reduce(20, 4));
  CHECK(backward["streams_norm_back"] == forward["streams_norm"]);
  // Latents that every device needs whole: queries 1024, keys 512, entries 2 x 512 (HCA) and
  // 2 x 1024 (CSA), the indexer's 4 x 128 + 64, logits of 256 experts.
  CHECK(forward["q_a_sum"] == L * all_reduce(1024, 2));
  CHECK(forward["kv_sum"] == L * all_reduce(512, 2));
  CHECK(forward["compressor_sum"] == 20 * all_reduce(1024, 2) + 21 * all_reduce(2048, 2));
  CHECK(forward["indexer_sum"] == 21 * all_reduce(576, 2));
  CHECK(backward.count("indexer_sum_back") == 0);  // only indices leave it
  CHECK(forward["router_sum"] == L * all_reduce(256, 2));
  // The output's kernel, 8 groups x 4096 x 1024 in bf16: a fourth on each device, by rows of all
  // groups; two whole groups are needed. Backward, its gradient goes back as well.
  CHECK(forward["regroup_output_weights"] == L * (8 * 4096 * 1024 / 4 * 2) / 4 * 3);
  CHECK(backward["regroup_output_weights_back"] == 2 * forward["regroup_output_weights"]);
}

TEST_CASE("V4's FLOPs of all devices are the model's, however its streams are split",
          "[program][tensor]") {
  for (const Words& more :
       {Words{}, Words{"ici_tensor_parallelism=2"}, Words{"ici_tensor_parallelism=8"},
        Words{"ici_expert_parallelism=4"}, Words{"remat_policy=full"}}) {
    INFO((more.empty() ? "" : more.front()));
    Words words = more;
    words.emplace_back("allow_split_physical_axes=true");
    const Plan plan = split_streams(words);
    REQUIRE(!not_lowered(plan));
    for (const Prefetch prefetch : {Prefetch::layer, Prefetch::kernel}) {
      const StepProgram program = lower(plan, prefetch);
      CHECK(program.model_flops * plan.devices() ==
            model_flops(op_groups(plan.model, {2048})).train * 64);
    }
  }
}

TEST_CASE("V4's carried streams take as much memory, however they are split", "[program][tensor]") {
  // X devices share X times the tokens, an Xth of each: 44 streams' inputs of k D T bf16 elements.
  const auto carries = [](const char* degree) {
    Bytes sum;
    for (const Buffer& buffer :
         lower(split_streams({std::string("ici_tensor_parallelism=") + degree}), Prefetch::layer)
             .buffers) {
      if (buffer.category == "carries") sum += buffer.bytes;
    }
    return sum;
  };
  CHECK(carries("1").value() > 0);
  CHECK(carries("4") == carries("1"));
}

TEST_CASE("devices beyond the groups of V4's output are not lowered", "[program][tensor]") {
  CHECK(
      not_lowered(split_streams({"ici_tensor_parallelism=16", "allow_split_physical_axes=true"})) ==
      "a tensor degree that does not divide the groups of the output projection");
}
