"""What a plan's step sends per MoE layer, against the golden figures of the reference."""

import json
import pathlib

from command_line import DONE, CommandLine

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden" / "comm_bytes.json"

# case -> the plan with that configuration, and its MoE layers. Nothing is recomputed, but by the
# batch-split schedule.
V4 = ["model_name=deepseek4-284b", "compile_topology=v5p-256", "attention=dot_product",
      "per_device_batch_size=1", "max_target_length=4096", "scan_layers=true"]
V3 = ["model_name=deepseek3-671b", "compile_topology=v5p-256", "mtp_num_layers=0",
      "override_model_config=true", "per_device_batch_size=1", "max_target_length=2048"]
CASES = {
    "v4_flash_ep8": ([*V4, "ici_expert_parallelism=8", "ici_fsdp_parallelism=16"], 43),
    "v4_flash_ep32_f32gate": ([*V4, "ici_expert_parallelism=32", "ici_fsdp_parallelism=4",
                               "float32_gate_logits=true", "override_model_config=true"], 43),
    "v3_ep16": ([*V3, "ici_expert_parallelism=16", "ici_fsdp_parallelism=8"], 58),
}

ALLOW = ["--allow", "hash-with-ring,batch-split-model"]
RING = {"gather_tokens": "ring_ag_x", "gather_logits": "ring_ag_logits",
        "gather_scores": "ring_ag_logits", "reduce_outputs": "ring_rs",
        "gather_gradients": "ring_rs", "reduce_tokens": "ring_ag_x",
        "reduce_logits": "ring_ag_logits"}
# strategy -> keys, operation -> golden figure of one layer.
STRATEGIES = {
    "ragged all-to-all": ([], {
        "dispatch": "ra2a_dispatch_sent", "combine": "ra2a_combine_sent",
        "expert_counts": "ra2a_expert_counts_ag_sent",
        # Gradients of what came go back, and the other way round.
        "dispatch_back": "ra2a_dispatch_recv", "combine_back": "ra2a_combine_sent"}),
    "ring": (["use_ring_of_experts=true"], RING),
    "token chunks": (["use_ring_of_experts=true", "num_moe_token_chunks=4"], RING),
    "embedding chunks": (["use_ring_of_experts=true", "num_moe_emb_chunks=4", "use_gmm_v2=true",
                          "use_tokamax_gmm=true"], RING),
}


class GoldenBytes(CommandLine):
    def cases(self):
        for case in json.loads(GOLDEN.read_text())["cases"]:
            if case["name"] not in CASES:
                continue  # of no model that a plan can name
            words, layers = CASES[case["name"]]
            figures = {name: one["data"][0] for name, one in case["expected"].items()}
            yield case["name"], case["config"], words, layers, figures

    def sent(self, words):
        """Bytes that a device sends over the expert axis, by operation, and over fsdp alone."""
        done = self.run_words(["simulate", *words, "-o", "json", *ALLOW])
        self.assertEqual(done.code, DONE, done.err)
        over_expert, over_fsdp = {}, {}
        for one in done.json()["collectives"]:
            of = {"expert": over_expert, "fsdp": over_fsdp}.get(one["mesh_axis"])
            if of is not None:
                name = one["name"].split("@")[0]
                of[name] = of.get(name, 0) + one["bytes_per_device"]
        return over_expert, over_fsdp

    def test_every_case_has_its_plan(self):
        self.assertEqual([name for name, *_ in self.cases()], list(CASES))

    def test_every_strategy_sends_the_golden_bytes(self):
        for name, config, words, layers, golden in self.cases():
            for strategy, (keys, operations) in STRATEGIES.items():
                with self.subTest(case=name, strategy=strategy):
                    over_expert, over_fsdp = self.sent(
                        [*words, *keys, "remat_policy=none", "use_ragged_sort=true"])
                    for operation, figure in operations.items():
                        self.assertEqual(over_expert[operation], layers * golden[figure],
                                         operation)
                    # The kernels of the local experts, and the router's, forward and backward.
                    router = config["d"] * config["E"] * config["act_bytes"]
                    gathered = golden["fsdp_ag"] + router * (config["fsdp"] - 1) // config["fsdp"]
                    self.assertEqual(over_fsdp["gather_weights"], 2 * layers * gathered)
                    if strategy == "ragged all-to-all":  # P counts of each of P devices
                        self.assertEqual(over_expert["shard_counts"], layers * config["EP"] *
                                         golden["ra2a_counts_ag_sent"])

    def test_both_microbatches_of_batch_split_send_them(self):
        for name, config, words, layers, golden in self.cases():
            with self.subTest(case=name):
                halves = {"per_device_batch_size": 2,
                          "max_target_length": config["T"] // 2,
                          "use_batch_split_schedule": "true"}
                words = [word for word in words if word.split("=")[0] not in halves]
                words += [f"{key}={value}" for key, value in halves.items()]
                over_expert, over_fsdp = self.sent(words)
                both = 2 * layers
                # Tokens are gathered again in the backward pass; choices are kept.
                self.assertEqual(over_expert["gather_tokens"], 2 * both * golden["bs_ag_x"])
                self.assertEqual(over_expert["gather_ids"] +
                                 over_expert["gather_weights_of_choices"],
                                 both * golden["bs_ag_ids_weights"])
                self.assertEqual(over_expert["reduce_outputs"], both * golden["bs_rs"])
                self.assertEqual(over_expert["gather_gradients"], both * golden["bs_rs"])
                self.assertEqual(over_expert["reduce_tokens"], both * golden["bs_ag_x"])
                # No logits: ids and weights travel in their place.
                self.assertNotIn("gather_logits", over_expert)
                router = config["d"] * config["E"] * config["act_bytes"]
                gathered = golden["fsdp_ag"] + router * (config["fsdp"] - 1) // config["fsdp"]
                self.assertEqual(over_fsdp["gather_weights"], 2 * layers * gathered)
