// Every plan that MaxText refuses, once, and what a what-if may lift.
#include "plans/refusals.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "plans/state.hpp"
#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

struct Case {
  std::string id;
  Words words;
  std::string message;  // part of it
};

Words on_32_chips(const std::string& model, Words more) {
  Words words{"model_name=" + model, "compile_topology=v5p-64", "per_device_batch_size=1",
              "max_target_length=2048"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const Words v4_flash_kernel{"attention=flash", "use_tokamax_splash=true"};

std::vector<Case> cases() {
  const Words v4{"model_name=deepseek4-284b", "compile_topology=v5p-512", "per_device_batch_size=1",
                 "max_target_length=4096"};
  Words autoselected = v4;
  Words plain_flash = v4;
  plain_flash.emplace_back("attention=flash");
  return {
      {"v4-attention", autoselected, "attention: 'autoselected' does not run"},
      {"v4-attention", plain_flash, "attention: 'flash' does not run"},
      {"hash-with-ring", flash({"use_ring_of_experts=true"}), "use_ring_of_experts: hash-routed"},
      {"batch-split-model", flash({"use_batch_split_schedule=true"}),
       "use_batch_split_schedule: runs the layers of the deepseek decoder only"},
      {"batch-split-model",
       on_32_chips("deepseek3-671b",
                   {"use_batch_split_schedule=true", "use_gmm_v2=true", "use_tokamax_gmm=true"}),
       "use_gmm_v2: does not run in the batch-split schedule"},
      {"batch-split-model",
       on_32_chips("deepseek3-671b", {"use_batch_split_schedule=true", "quantization=int8"}),
       "quantization: 'int8' does not run in the batch-split schedule, fp8_full does"},
      {"v4-mtp", flash({"mtp_num_layers=1"}), "mtp_num_layers: MaxText has no"},
      {"v4-linen-bias", flash({"pure_nnx=false"}), "pure_nnx: the router bias"},
      {"token-chunks", on_32_chips("mixtral-8x7b", {"num_moe_token_chunks=4"}),
       "num_moe_token_chunks: needs use_ring_of_experts=true"},
      {"token-chunks",
       on_32_chips("mixtral-8x7b", {"num_moe_token_chunks=3", "use_ring_of_experts=true"}),
       "num_moe_token_chunks: 3 does not divide max_target_length=2048"},
      {"emb-chunks", on_32_chips("mixtral-8x7b", {"num_moe_emb_chunks=4"}),
       "num_moe_emb_chunks: needs use_gmm_v2"},
      {"emb-chunks",
       on_32_chips("mixtral-8x7b", {"num_moe_emb_chunks=3", "use_gmm_v2=true",
                                    "use_tokamax_gmm=true", "use_ring_of_experts=true"}),
       "num_moe_emb_chunks: 3 does not divide base_emb_dim=4096"},
      {"emb-chunks", on_32_chips("mixtral-8x7b", {"use_gmm_v2=true"}),
       "use_gmm_v2: needs use_tokamax_gmm=true"},
      {"ragged-buffer",
       on_32_chips("mixtral-8x7b", {"ragged_buffer_factor=1.5", "use_ring_of_experts=true"}),
       "ragged_buffer_factor: with a ring of experts needs use_ragged_sort=true"},
      {"check-vma", on_32_chips("mixtral-8x7b", {"check_vma=true", "use_tokamax_gmm=true"}),
       "check_vma: does not hold with use_tokamax_gmm=true"},
      {"check-vma", on_32_chips("mixtral-8x7b", {"check_vma=true", "ici_tensor_parallelism=4"}),
       "check_vma: does not hold with an ICI degree on tensor"},
      {"moe-dims", on_32_chips("mixtral-8x7b", {"override_model_config=true", "base_mlp_dim=4096"}),
       "base_moe_mlp_dim: 14336 differs from base_mlp_dim=4096"},
      {"moe-dims", on_32_chips("gpt-oss-20b", {"capacity_factor=1.0", "sparse_matmul=false"}),
       "capacity_factor: GPT-OSS has no dense path with capacity"},
      {"moe-dims", on_32_chips("llama4-17b-16e", {"capacity_factor=1.0"}),
       "capacity_factor: Llama 4 routes to one expert without capacity"},
      {"moe-dims",
       on_32_chips("mixtral-8x7b", {"override_model_config=true", "interleave_moe_layer_step=3"}),
       "interleave_moe_layer_step: 3 does not divide the 32 layers"},
      {"shard-exp-on-fsdp", flash({"shard_exp_on_fsdp=true", "ici_expert_parallelism=8"}),
       "shard_exp_on_fsdp: needs expert and tensor degrees of 1"},
      {"shard-exp-on-fsdp", on_32_chips("mixtral-8x7b", {"shard_exp_on_fsdp=true"}),
       "shard_exp_on_fsdp: 8 experts are not a multiple of fsdp=32"},
      {"context-strategy", flash({"ici_context_parallelism=8", "context_parallel_strategy=ring"}),
       "context_parallel_strategy: 'ring' does not run compressed attention"},
      {"context-strategy", llama({"ici_context_parallelism=4", "context_parallel_strategy=ring"}),
       "'ring' needs attention=flash use_tokamax_splash=true"},
      {"context-strategy",
       {"model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=1",
        "max_target_length=2052", "ici_context_parallelism=4"},
       "max_target_length=2052 is not divisible by 8"},  // an early and a late run on each of 4
      {"context-strategy",
       llama({"ici_context_usp_ulysses_parallelism=16", "context_parallel_strategy=ulysses",
              "attention=flash", "use_tokamax_splash=true", "allow_split_physical_axes=true"}),
       "'ulysses' needs 32 and 8 heads to be multiples of 16"},
      {"pipeline", llama({"ici_pipeline_parallelism=4", "num_pipeline_repeats=4"}),
       "4 stages of 1 layers, 4 times, are not the 32 layers"},
      {"pipeline", llama({"ici_pipeline_parallelism=4", "pipeline_parallel_layers=40"}),
       "pipeline_parallel_layers: 40 of the model's 32 layers"},
      {"pipeline", llama({"ici_pipeline_parallelism=4", "num_pipeline_microbatches=6"}),
       "num_pipeline_microbatches: 6 is not a multiple of the 4 stages"},
      {"pipeline",
       llama({"ici_pipeline_parallelism=4", "num_pipeline_microbatches=4",
              "pipeline_delay_activation_forwarding=true"}),
       "a microbatch comes round after 8 iterations, 4 microbatches after 4"},
      // Dense layers are not pipelined.
      {"pipeline",
       on_32_chips("deepseek3-671b", {"ici_pipeline_parallelism=2", "pipeline_parallel_layers=60"}),
       "pipeline_parallel_layers: 60 of the 58 layers that can be pipelined"},
      {"pipeline-kinds",
       flash({"ici_pipeline_parallelism=4", "num_layers_per_pipeline_stage=2",
              "allow_split_physical_axes=true"}),
       "ici_pipeline_parallelism: all stages of a pipeline run the same layer"},
      {"vocab-tiling", llama({"num_vocab_tiling=3"}),
       "num_vocab_tiling: 3 does not divide batch x sequence = 65536"},  // 32 x 2048
      {"explicit-sharding", on_32_chips("mixtral-8x7b", {"shard_mode=explicit"}),
       "shard_mode: explicit sharding does not run the mixtral decoder"},
      {"diloco", llama({"ici_diloco_parallelism=4"}),
       "ici_diloco_parallelism: a diloco degree needs enable_diloco"},
      // 2 x 2 (2048 x 4096 + 4096 x 14336 + 2048 x 14336) = 385,875,968 bytes.
      {"vmem-blocks",
       on_32_chips("mixtral-8x7b", {"wi_tile_fwd_batch_seq=2048", "wi_tile_fwd_embed_dim=8192",
                                    "wi_tile_fwd_mlp_dim=16384"}),
       "wi_tile_fwd_batch_seq: blocks of 2048, 4096 and 14336 need 368 MiB of VMEM, a TensorCore "
       "has 64"},
      // 4 x 8192 x 4096: a sequence is shorter than the block of its queries.
      {"vmem-blocks",
       {"model_name=llama3.1-8b", "compile_topology=v5p-64", "max_target_length=8192",
        "per_device_batch_size=1", "attention=flash", "sa_block_q=16384",
        "sa_block_kv_compute=4096"},
       "sa_block_q: blocks of 8192 and 4096 need 128 MiB of VMEM"},
      {"uneven-parameter", llama({"ici_tensor_parallelism=16"}),
       "ici_tensor_parallelism: tensor = 16 does not divide"},
      {"hash-scan",
       on_32_chips("deepseek4-tiny", {"attention=dot_product", "override_model_config=true",
                                      "first_num_hash_layers=2"}),
       "scan_layers: "},
  };
}

void evaluate(PlanRequest request) { training_state(make_plan(request)); }

PlanRequest allowing(const Words& words, const std::string& id) {
  PlanRequest r = request(words);
  Node list;
  list.kind = Node::Kind::sequence;
  list.where = {"<command line> --allow"};
  Node item;
  item.kind = Node::Kind::scalar;
  item.text = id;
  list.items.push_back(item);
  r.own["allow"] = list;
  return r;
}

}  // namespace

TEST_CASE("each refusal is met, with its id and its key", "[plans][refusals]") {
  std::set<std::string> met;
  for (const Case& c : cases()) {
    INFO(c.id << ": " << c.message);
    const Error error = refusal([&] { evaluate(request(c.words)); });
    CHECK(error.kind() == ErrorKind::invalid_input);
    CHECK_THAT(error.what(), Contains(c.message) && Contains("[" + c.id + "]"));
    CHECK_FALSE(error.diagnostics().front().hint.empty());
    met.insert(c.id);
  }
  for (const std::string& id : refusal_ids()) {
    INFO(id);
    CHECK(met.contains(id));
  }
}

TEST_CASE("what can be lifted makes the plan hypothetical, and says what it assumes",
          "[plans][refusals]") {
  const std::vector<std::string> liftable = liftable_refusals();
  std::set<std::string> lifted;
  for (const Case& c : cases()) {
    if (std::find(liftable.begin(), liftable.end(), c.id) == liftable.end()) continue;
    INFO(c.id << ": " << c.message);
    Plan plan = make_plan(allowing(c.words, c.id));
    CHECK(plan.hypothetical());
    const bool told = std::any_of(plan.assumptions.begin(), plan.assumptions.end(),
                                  [&](const std::string& assumption) {
                                    return assumption.starts_with("hypothetical (" + c.id + "): ");
                                  });
    CHECK(told);
    lifted.insert(c.id);
  }
  CHECK(lifted.size() == liftable.size());
}

TEST_CASE("a lifted refusal that the plan does not meet leaves it as it is", "[plans][refusals]") {
  const Plan plan = make_plan(allowing(flash(), "v4-mtp"));
  CHECK_FALSE(plan.hypothetical());
  CHECK(plan.assumptions == plan_of(flash()).assumptions);
}

TEST_CASE("all refusals of a plan are told at once", "[plans][refusals]") {
  Words words = flash({"mtp_num_layers=1", "pure_nnx=false", "use_ring_of_experts=true"});
  const Error error = refusal([&] { plan_of(words); });
  CHECK(error.diagnostics().size() == 3);
}

TEST_CASE("what MaxText accepts is not refused", "[plans][refusals]") {
  CHECK_NOTHROW(plan_of(flash()));
  Words splash = flash({"use_tokamax_splash=true"});
  splash[2] = "attention=flash";
  CHECK_NOTHROW(plan_of(splash));
  CHECK_NOTHROW(plan_of(flash({"ici_context_parallelism=8"})));
  CHECK_NOTHROW(plan_of(llama({"num_vocab_tiling=8", "shard_mode=explicit"})));
  CHECK_NOTHROW(
      plan_of(on_32_chips("mixtral-8x7b", {"num_moe_token_chunks=4", "use_ring_of_experts=true",
                                           "use_ragged_sort=true", "ragged_buffer_factor=1.5"})));
  // A dense model has no experts to be refused.
  CHECK_NOTHROW(plan_of(llama({"override_model_config=true", "base_moe_mlp_dim=7"})));
}
