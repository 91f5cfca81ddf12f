"""What MaxText refuses: the reason, the nearest legal change, and the what-if that lifts it."""

from command_line import DONE, INVALID, CommandLine

V4 = ["model_name=deepseek4-284b", "compile_topology=v5p-512", "per_device_batch_size=2",
      "max_target_length=2048", "attention=dot_product", "override_model_config=true",
      "ici_fsdp_parallelism=32", "ici_expert_parallelism=8"]
V3 = ["model_name=deepseek3-671b", "compile_topology=v5p-512", "per_device_batch_size=2",
      "max_target_length=2048", "mtp_num_layers=0", "override_model_config=true",
      "ici_fsdp_parallelism=32", "ici_expert_parallelism=8"]
MIXTRAL = ["model_name=mixtral-8x7b", "compile_topology=v5p-64", "per_device_batch_size=1",
           "max_target_length=2048", "override_model_config=true"]
LLAMA = ["model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=1",
         "max_target_length=2048"]
TWO_SLICES = ["num_slices=2", "dcn_data_parallelism=2"]

# id, the plan, a part of the reason, the change that makes it legal. With None the id is no word of
# the message: the rule is one of the mesh.
ROWS = [
    ("v4-attention", [*V4, "attention=flash"], "does not run DeepSeek-V4's compressed attention",
     ["use_tokamax_splash=true"]),
    ("v4-attention", [*V4, "attention=autoselected"], "does not run", ["attention=dot_product"]),
    ("hash-with-ring", [*V4, "use_ring_of_experts=true"], "no token ids",
     ["use_ring_of_experts=false"]),
    ("hash-with-ring", [*V4, "use_ring_of_experts=true", "num_moe_token_chunks=4"], "no token ids",
     ["use_ring_of_experts=false", "num_moe_token_chunks=1"]),
    ("hash-with-ring", [*V4, "use_ring_of_experts=true", "num_moe_emb_chunks=4",
                        "use_gmm_v2=true", "use_tokamax_gmm=true"], "no token ids",
     ["use_ring_of_experts=false", "num_moe_emb_chunks=0"]),
    ("batch-split-model", [*V4, "use_batch_split_schedule=true"], "the deepseek decoder only",
     ["use_batch_split_schedule=false"]),
    ("batch-split-model", [*V3, "use_batch_split_schedule=true", "use_gmm_v2=true",
                           "use_tokamax_gmm=true"], "use_gmm_v2", ["use_gmm_v2=false"]),
    ("batch-split-model", [*V3, "use_batch_split_schedule=true", "quantization=int8"],
     "fp8_full", ["quantization=\"\""]),
    ("v4-mtp", [*V4, "mtp_num_layers=1"], "no multi-token prediction", ["mtp_num_layers=0"]),
    ("v4-linen-bias", [*V4, "pure_nnx=false"], "router bias", ["pure_nnx=true"]),
    ("hash-scan", [*V4, "first_num_hash_layers=2"], "scan_layers", ["first_num_hash_layers=3"]),
    ("token-chunks", [*MIXTRAL, "num_moe_token_chunks=4"], "needs use_ring_of_experts=true",
     ["use_ring_of_experts=true"]),
    ("token-chunks", [*MIXTRAL, "num_moe_token_chunks=3", "use_ring_of_experts=true"],
     "3 does not divide max_target_length=2048", ["num_moe_token_chunks=4"]),
    ("emb-chunks", [*MIXTRAL, "use_gmm_v2=true"], "needs use_tokamax_gmm=true",
     ["use_tokamax_gmm=true"]),
    ("emb-chunks", [*MIXTRAL, "num_moe_emb_chunks=4", "use_ring_of_experts=true"], "needs use_gmm_v2",
     ["use_gmm_v2=true", "use_tokamax_gmm=true"]),
    ("ragged-buffer", [*MIXTRAL, "ragged_buffer_factor=1.5", "use_ring_of_experts=true"],
     "needs use_ragged_sort=true", ["use_ragged_sort=true"]),
    ("check-vma", [*MIXTRAL, "check_vma=true", "use_ring_of_experts=true"],
     "does not hold with use_ring_of_experts=true", ["check_vma=false"]),
    ("check-vma", [*MIXTRAL, "check_vma=true", "use_tokamax_gmm=true"],
     "does not hold with use_tokamax_gmm=true", ["use_tokamax_gmm=false"]),
    ("check-vma", [*MIXTRAL, "check_vma=true", "use_ragged_sort=true"],
     "does not hold with use_ragged_sort=true", ["check_vma=false"]),
    ("check-vma", [*MIXTRAL, "check_vma=true", "ici_tensor_parallelism=4"],
     "an ICI degree on tensor", ["check_vma=false"]),
    ("moe-dims", [*MIXTRAL, "base_mlp_dim=4096"], "although every layer is MoE",
     ["base_mlp_dim=14336"]),
    ("moe-dims", ["model_name=gpt-oss-20b", *MIXTRAL[1:], "sparse_matmul=false",
                  "capacity_factor=1.0"], "no dense path with capacity", ["capacity_factor=-1"]),
    ("moe-dims", ["model_name=llama4-17b-16e", *MIXTRAL[1:], "capacity_factor=1.0"],
     "Llama 4 routes to one expert", ["capacity_factor=-1"]),
    ("moe-dims", [*MIXTRAL, "interleave_moe_layer_step=3"], "does not divide the 32 layers",
     ["interleave_moe_layer_step=1"]),
    ("shard-exp-on-fsdp", [*MIXTRAL, "shard_exp_on_fsdp=true"],
     "8 experts are not a multiple of fsdp=32", ["ici_fsdp_parallelism=8",
                                                 "ici_data_parallelism=4"]),
    ("shard-exp-on-fsdp", [*V4, "shard_exp_on_fsdp=true"], "expert and tensor degrees of 1",
     ["shard_exp_on_fsdp=false"]),
    ("context-strategy", [*LLAMA, "ici_context_parallelism=4", "context_parallel_strategy=ring"],
     "needs attention=flash use_tokamax_splash=true", ["context_parallel_strategy=all_gather"]),
    ("context-strategy", [*LLAMA, "attention=flash", "use_tokamax_splash=true",
                          "ici_context_parallelism=4", "context_parallel_strategy=ring",
                          "max_target_length=2056"], "not divisible by 16",
     ["max_target_length=2064"]),
    ("context-strategy", [*LLAMA, "attention=flash", "use_tokamax_splash=true",
                          "ici_fsdp_parallelism=8", "ici_context_parallelism=-1",
                          "context_parallel_strategy=ulysses"], "needs explicit degrees",
     ["ici_context_parallelism=4"]),
    ("context-strategy", [*LLAMA, "attention=flash", "use_tokamax_splash=true",
                          "ici_fsdp_parallelism=4", "ici_context_parallelism=2",
                          "ici_context_usp_ulysses_parallelism=-1",
                          "context_parallel_strategy=usp", "allow_split_physical_axes=true"],
     "needs explicit degrees", ["ici_context_usp_ulysses_parallelism=4"]),
    # Ulysses shares out heads: one head of keys is not enough, and 8 not for 16 devices.
    ("context-strategy", [*LLAMA, "attention=flash", "use_tokamax_splash=true",
                          "ici_context_parallelism=4", "context_parallel_strategy=ulysses",
                          "override_model_config=true", "base_num_kv_heads=1"],
     "needs 32 and 1 heads to be multiples of 4", ["base_num_kv_heads=4"]),
    ("context-strategy", [*LLAMA, "attention=flash", "use_tokamax_splash=true",
                          "ici_context_parallelism=16", "context_parallel_strategy=ulysses",
                          "allow_split_physical_axes=true"],
     "needs 32 and 8 heads to be multiples of 16", ["context_parallel_strategy=all_gather"]),
    # The sparse indexer of DeepSeek-V3.2 is no model here, with or without a split context.
    (None, [*LLAMA, "attention=flash", "use_tokamax_splash=true", "ici_context_parallelism=4",
            "context_parallel_strategy=ulysses", "use_indexer=true"], "use_indexer",
     ["use_indexer=false"]),
    ("context-strategy", [*V4, "ici_expert_parallelism=1", "ici_context_parallelism=8",
                          "context_parallel_strategy=ring"], "does not run compressed attention",
     ["context_parallel_strategy=all_gather"]),
    ("pipeline-kinds", [*V4, "ici_fsdp_parallelism=8", "ici_pipeline_parallelism=4",
                        "num_layers_per_pipeline_stage=2", "allow_split_physical_axes=true"],
     "all stages of a pipeline run the same layer",
     ["ici_pipeline_parallelism=1", "ici_fsdp_parallelism=32"]),
    ("pipeline", [*LLAMA, "ici_pipeline_parallelism=4", "pipeline_parallel_layers=40"],
     "40 of the model's 32 layers", ["pipeline_parallel_layers=32"]),
    ("pipeline", [*V3, "ici_fsdp_parallelism=16", "ici_pipeline_parallelism=2",
                  "allow_split_physical_axes=true", "pipeline_parallel_layers=60"],
     "60 of the 58 layers that can be pipelined", ["pipeline_parallel_layers=58"]),
    ("pipeline", [*LLAMA, "per_device_batch_size=2", "ici_pipeline_parallelism=4",
                  "num_pipeline_microbatches=6"],
     "not a multiple of the 4 stages", ["num_pipeline_microbatches=8"]),
    ("vocab-tiling", [*LLAMA, "num_vocab_tiling=3"], "does not divide batch x sequence",
     ["num_vocab_tiling=4"]),
    ("explicit-sharding", [*MIXTRAL, "shard_mode=explicit"], "does not run the mixtral decoder",
     ["shard_mode=auto"]),
    ("uneven-parameter", [*LLAMA, "ici_tensor_parallelism=16"], "does not divide",
     ["ici_tensor_parallelism=4"]),
    (None, [*LLAMA, "ici_fsdp_parallelism=1", "ici_tensor_parallelism=8",
            "ici_data_parallelism=4", "logical_axis_rules=[[mlp, []]]"], "sharding_tolerance",
     ["sharding_tolerance=1"]),
    # The one head of keys that all of V4's heads share.
    ("uneven-parameter", [*V4, "ici_tensor_parallelism=2", "allow_split_physical_axes=true",
                          "ici_fsdp_parallelism=16"], "self_attention/wkv/kernel",
     ["logical_axis_rules=[[kv_heads, null]]"]),
    (None, [*LLAMA, "dcn_data_parallelism=2"], "dcn", ["dcn_data_parallelism=1"]),
    (None, [*LLAMA, *TWO_SLICES, "dcn_data_parallelism=4"], "dcn", ["dcn_data_parallelism=2"]),
]

# What a what-if assumes of each that can be lifted.
ASSUMED = {
    "hash-with-ring": "token ids are gathered beside the tokens",
    "batch-split-model": "the batch-split schedule runs this model's attention",
    "v4-mtp": "one sliding-window, top-k routed block per depth",
    "v4-linen-bias": "costs the same",
    "hash-scan": "unrolled",
    "emb-chunks": "with any kernel",
    "pipeline-kinds": "whole blocks of the scan are pipelined",
}


def changed(words, change):
    """`words` with those of `change`, of each key the last."""
    keys = {}
    for word in [*words, *change]:
        keys[word.split("=", 1)[0]] = word
    return list(keys.values())


class Refusals(CommandLine):
    def simulate(self, words, *more):
        return self.run_words(["simulate", *changed(words, []), "-o", "json", *more])

    def test_each_says_why_and_what_is_legal(self):
        for own, words, reason, change in ROWS:
            with self.subTest(id=own, words=words):
                refused = self.simulate(words)
                self.assertEqual(refused.code, INVALID, refused.err)
                self.assertEqual(refused.out, "")
                self.assertIn(reason, refused.err)
                self.assertIn("hint: ", refused.err)
                if own is not None:
                    self.assertIn(f"[{own}]", refused.err)
                # The nearest legal change is legal.
                legal = self.run_words(["fit", *changed(words, change), "-o", "json"])
                self.assertNotEqual(legal.code, INVALID, legal.err)

    def test_each_that_can_be_lifted_has_a_step(self):
        lifted = set()
        for own, words, _, _ in ROWS:
            if own not in ASSUMED:
                if own is not None:
                    refused = self.simulate(words, "--allow", own)
                    self.assertNotEqual(refused.code, DONE)
                    self.assertIn("not a refusal that can be lifted", refused.err)
                continue
            with self.subTest(id=own, words=words):
                times = []
                for fidelity in ("closed-form", "event"):
                    done = self.simulate(words, "--allow", own, "--fidelity", fidelity)
                    self.assertEqual(done.code, DONE, done.err)
                    report = done.json()
                    self.assertTrue(report["hypothetical"])
                    told = [text for text in report["assumptions"]
                            if text.startswith(f"hypothetical ({own}): ")]
                    self.assertEqual(len(told), 1)
                    self.assertIn(ASSUMED[own], told[0])
                    self.assertGreater(report["step_time_ps"], 0)
                    self.assertEqual(sum(part["ps"] for part in report["time"]),
                                     report["step_time_ps"])
                    times.append(report["step_time_ps"])
                self.assertAlmostEqual(times[1] / times[0], 1, delta=0.01)
                lifted.add(own)
        self.assertEqual(lifted, set(ASSUMED))

    def test_several_are_lifted_together(self):
        words = changed(V4, ["use_batch_split_schedule=true", "mtp_num_layers=1",
                             "pure_nnx=false"])
        done = self.simulate(words, "--allow", "batch-split-model,v4-mtp,v4-linen-bias")
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(sum(text.startswith("hypothetical (") for text in
                             done.json()["assumptions"]), 3)
        refused = self.simulate(words, "--allow", "batch-split-model,v4-mtp")
        self.assertEqual(refused.code, INVALID)
        self.assertIn("[v4-linen-bias]", refused.err)
        self.assertNotIn("[v4-mtp]", refused.err)
