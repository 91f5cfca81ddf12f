"""Routing scenarios of a plan: what they cost, what they move, and what is refused."""

from command_line import DONE, INVALID, IO, USAGE, CommandLine

# A model of 43 layers (3 of them hash-routed) that is small enough to be routed for real: 2 ranks of
# 8 tokens each, without recomputation, so that every exchange happens once in either pass.
TINY = "model_name=deepseek4-tiny compile_topology=v5p-8 attention=dot_product " \
       "per_device_batch_size=1 max_target_length=8 ici_fsdp_parallelism=2 " \
       "ici_expert_parallelism=2 " \
       "remat_policy=none scan_layers=false sharding_tolerance=0.1".split()
LAYERS = 43
RUN = "model_name=deepseek4-tiny dtype=bfloat16 layers=43 steps=2 ranks=2 tokens=16".split()

# What moe run calls the collectives of the simulator.
RAGGED = {"shard_counts": "all_gather_shard_counts", "expert_counts": "all_gather_expert_counts",
          "dispatch": "dispatch", "combine": "combine", "combine_back": "combine_back",
          "dispatch_back": "dispatch_back"}
RING = {"gather_tokens": "all_gather_x", "gather_logits": "all_gather_gate_logits",
        "gather_scores": "all_gather_pre_bias", "reduce_outputs": "reduce_scatter",
        "gather_gradients": "all_gather_dy", "reduce_tokens": "reduce_scatter_dx",
        "reduce_logits": "reduce_scatter_d_pre"}
SPLIT = {"gather_tokens": "all_gather_x", "gather_ids": "all_gather_ids",
         "gather_weights_of_choices": "all_gather_weights", "sum_counts": "all_reduce_counts",
         "reduce_outputs": "reduce_scatter", "gather_gradients": "all_gather_dy",
         "reduce_tokens": "reduce_scatter_dx",
         "reduce_weights_of_choices": "reduce_scatter_d_weights"}
# The schedule halves a device's sequences, and keeps no rows whatever the policy: it gathers its
# tokens again.
HALVES = ["per_device_batch_size=2", "max_target_length=4", "use_batch_split_schedule=true",
          "--allow", "batch-split-model"]
AGAIN = {"all_gather_x_again": "gather_tokens"}
# A ring has no token ids: no hash layers there.
NO_HASH = ["override_model_config=true", "first_num_hash_layers=0"]


class Scenarios(CommandLine):
    def simulated(self, *words):
        done = self.run_words(["simulate", *TINY, "-o", "json", *words])
        self.assertEqual(done.code, DONE, done.err)
        return done.json()

    def cost(self, report, routing=None):
        return sum(one["imbalance_ps"] for one in report["experts"]
                   if routing in (None, one["routing"]))

    def test_balanced_is_the_default(self):
        balanced = self.simulated()
        self.assertEqual(balanced["experts"], [])
        self.assertEqual(balanced["dropped_slots"], 0)
        self.assertIn("balanced routing", " ".join(balanced["assumptions"]))
        named = self.simulated("--routing", "balanced")
        self.assertEqual(named["step_time_ps"], balanced["step_time_ps"])
        # A spread of nothing.
        even = self.simulated("--routing", "lognormal:sigma=0,seed=3")
        for part in ("time", "collectives", "memory", "experts", "step_time_ps"):
            self.assertEqual(even[part], balanced[part], part)

    def test_a_scenario_has_its_cost_by_layer_and_by_cause(self):
        for words in (["--hash-table", "zeros"], ["--routing", "lognormal:sigma=1,seed=4"],
                      ["--hash-table", "md5", "--token-law", "zipf:s=1.2,q=1",
                       "--routing", "lognormal:sigma=0.5,seed=1"]):
            with self.subTest(words):
                report = self.simulated(*words)
                self.assertEqual(len(report["experts"]), LAYERS)
                self.assertEqual([one["routing"] for one in report["experts"]],
                                 ["hash"] * 3 + ["top_k"] * (LAYERS - 3))
                by_cause = sum(part["ps"] for part in report["time"]
                               if part["cause"] == "imbalance")
                self.assertEqual(self.cost(report), by_cause)
                self.assertEqual(sum(part["ps"] for part in report["time"]),
                                 report["step_time_ps"])
                self.assertEqual(report["resolved"] and True, True)

    def test_zeros_burden_the_hash_layers_alone(self):
        report = self.simulated("--hash-table", "zeros")
        self.assertEqual({one["skew_ratio"] for one in report["experts"]
                          if one["routing"] == "hash"}, {2})
        self.assertEqual(self.cost(report, "top_k"), 0)
        self.assertIn("every slot to expert 0", " ".join(report["assumptions"]))

    def test_equal_seeds_equal_bytes(self):
        words = ["simulate", *TINY, "--routing", "lognormal:sigma=0.7,seed=5", "-o", "json"]
        self.assertEqual(self.run_words(words).out, self.run_words(words).out)
        one = self.simulated("--routing", "lognormal:sigma=0.7,seed=5")
        for other in ("lognormal:sigma=0.7,seed=6", "lognormal:sigma=0.7,seed=5,step=400"):
            self.assertNotEqual(self.simulated("--routing", other)["experts"], one["experts"])

    def test_both_fidelities_agree(self):
        words = ["--routing", "lognormal:sigma=0.7,seed=5", "--hash-table", "zeros"]
        closed = self.simulated(*words)
        event = self.simulated(*words, "--fidelity", "event")
        self.assertAlmostEqual(event["step_time_ps"] / closed["step_time_ps"], 1, delta=1e-6)

    def test_the_files_of_a_plan_say_the_same(self):
        plan = self.file("plan.yml", "\n".join(
            [f"{word.replace('=', ': ', 1)}" for word in TINY] +
            ["meshsim:", "  hash_table: zeros", "  routing: lognormal:sigma=0.7,seed=5", ""]))
        done = self.run_words(["simulate", plan, "-o", "json"])
        self.assertEqual(done.code, DONE, done.err)
        by_flags = self.simulated("--hash-table", "zeros", "--routing",
                                  "lognormal:sigma=0.7,seed=5")
        self.assertEqual(done.json()["step_time_ps"], by_flags["step_time_ps"])
        self.assertEqual(done.json()["experts"], by_flags["experts"])


class RealRouting(CommandLine):
    def test_a_trace_moves_the_bytes_that_the_run_moved(self):
        trace, traffic = str(self.folder / "trace.jsonl"), str(self.folder / "traffic.jsonl")
        done = self.run_words(["moe", "run", *RUN, f"routing_trace={trace}",
                               f"traffic={traffic}", "-o", "json"])
        self.assertEqual(done.code, DONE, done.err)
        self.assertTrue(done.json()["predicted_equals_moved"])
        for step in (0, 1):
            moved = {}
            for row in done.json()["traffic"]:
                if row["step"] == step:
                    name = row["collective"]
                    moved[name] = moved.get(name, 0) + row["bytes"]
            simulated = self.run_words(["simulate", *TINY, "-o", "json", "--routing",
                                        f"trace:{trace},step={step}"])
            self.assertEqual(simulated.code, DONE, simulated.err)
            sent = {one["name"]: one for one in simulated.json()["collectives"]
                    if one["mesh_axis"] == "expert"}
            for name, own in (("dispatch", "dispatch"), ("combine", "combine"),
                              ("shard_counts", "all_gather_shard_counts"),
                              ("expert_counts", "all_gather_expert_counts")):
                self.assertEqual(sent[name]["count"], LAYERS)
                self.assertEqual(sent[name]["bytes_per_group"], moved[own], name)
            # The gradients of what came go back, and the other way round.
            self.assertEqual(sent["dispatch_back"]["bytes_per_group"], moved["dispatch"])
            self.assertEqual(sent["combine_back"]["bytes_per_group"], moved["combine"])
            self.assertEqual(simulated.json()["routed_slots"], LAYERS * 16 * 4)

    def test_every_strategy_moves_what_the_run_moved_forward_and_backward(self):
        ring = ["use_ring_of_experts=true", *NO_HASH]
        for strategy, names, words, run in (
                ("ragged_all_to_all", RAGGED, [], ["hash_table=md5"]),
                ("ring_of_experts", RING, ring, []),
                ("token_chunks", RING, [*ring, "num_moe_token_chunks=4"],
                 ["num_moe_token_chunks=4"]),
                ("embedding_chunks", RING, [*ring, "use_gmm_v2=true", "use_tokamax_gmm=true",
                                            "num_moe_emb_chunks=4"], ["num_moe_emb_chunks=4"]),
                ("batch_split", SPLIT, HALVES, ["hash_table=md5"])):
            with self.subTest(strategy):
                trace = str(self.folder / (strategy + ".jsonl"))
                run = [*run, "num_hash_layers=0"] if names is RING else run
                done = self.run_words(["moe", "run", "model_name=deepseek4-tiny", "layers=43",
                                       "steps=1", "ranks=2", "tokens=16", "backward=true",
                                       f"strategy={strategy}", f"routing_trace={trace}",
                                       "-o", "json", *run])
                self.assertEqual(done.code, DONE, done.err)
                self.assertTrue(done.json()["predicted_equals_moved"])
                self.assertTrue(done.json()["single_rank"]["passed"])
                moved = {name: [0, 0] for name in names.values()}
                for row in done.json()["traffic"]:
                    own = names.get(AGAIN.get(row["collective"]), row["collective"])
                    moved[own][row["src"]] += row["bytes"]
                given = {word.split("=")[0] for word in words}
                tiny = [word for word in TINY if word.split("=")[0] not in given]
                done = self.run_words(["simulate", *tiny, "dtype=float32", *words, "-o", "json",
                                       "--routing", f"trace:{trace}"])
                self.assertEqual(done.code, DONE, done.err)
                sent = {name: [0, 0] for name in names}
                for one in done.json()["collectives"]:
                    name = one["name"].split("@")[0]  # of all chunks together
                    if one["mesh_axis"] != "expert" or name == "reduce_gradients":
                        continue
                    ranks = one.get("bytes_by_rank", [one["bytes_per_device"]] * 2)
                    sent[name] = [a + b for a, b in zip(sent[name], ranks)]
                self.assertEqual(sent, {name: moved[own] for name, own in names.items()})
                if names is RAGGED:  # two ranks that do not send alike
                    self.assertNotEqual(*sent["dispatch"])
                    # d/dx of what came goes back, d/dy of what went back comes again.
                    self.assertEqual(sent["dispatch_back"], sent["combine"])
                    self.assertEqual(sent["combine_back"], sent["dispatch"])

    def test_a_trace_of_another_plan_is_refused(self):
        trace = str(self.folder / "trace.jsonl")
        self.assertEqual(self.run_words(["moe", "run", *RUN, f"routing_trace={trace}"]).code, DONE)
        for words, part in (
                (["model_name=deepseek4-284b", "ici_fsdp_parallelism=2",
                  "ici_expert_parallelism=2"], "model"),
                (["ici_expert_parallelism=4", "ici_fsdp_parallelism=1"], "expert-parallel ranks")):
            keys = {word.split("=")[0] for word in words}
            plan = [word for word in TINY if word.split("=")[0] not in keys] + words
            done = self.run_words(["simulate", *plan, "--routing", f"trace:{trace}"])
            self.assertEqual(done.code, INVALID, done.err)
            self.assertIn("does not fit the plan: " + part, done.err)
        done = self.run_words(["simulate", *TINY, "--routing", f"trace:{trace},step=2"])
        self.assertEqual(done.code, INVALID)
        self.assertIn("steps (got 2, want at least 3, for step=2)", done.err)


class Devices(CommandLine):
    SKEWED = ["--routing", "lognormal:sigma=0.7,seed=5", "--hash-table", "zeros"]

    def simulated(self, *words):
        done = self.run_words(["simulate", *TINY, *self.SKEWED, "-o", "json", *words])
        self.assertEqual(done.code, DONE, done.err)
        return done.json()

    def test_the_event_engine_tells_the_ranks_apart(self):
        report = self.simulated("--fidelity", "event")
        step = report["device_step"]
        self.assertEqual((step["detail"], step["classes"], step["devices_per_class"]),
                         ("ranks", 2, 2))
        classes = report["device_classes"]
        self.assertEqual([one["device_class"] for one in classes], ["expert=0", "expert=1"])
        self.assertEqual(step["step_time_ps"], max(one["end_ps"] for one in classes))
        # Hash layers send all to expert 0: rank 0 works longest, the other one waits for it.
        self.assertGreater(classes[0]["experts_ps"], classes[1]["experts_ps"])
        self.assertGreater(classes[1]["waited_ps"], classes[0]["waited_ps"])
        self.assertEqual(step["slowest"], "expert=0")
        for one in classes:
            self.assertEqual(one["peak_bytes"], report["peak_bytes"])
        for spread in report["device_spread"]:
            times = [one[spread["quantity"] + "_ps"] for one in classes]
            self.assertEqual((spread["least_ps"], spread["most_ps"]), (min(times), max(times)))
            self.assertAlmostEqual(spread["mean_ps"], sum(times) / len(times), delta=1)
        self.assertEqual({one["mesh_axes"] for one in report["device_spread"]
                          if one["quantity"].startswith("ici")} - {""}, {"fsdp", "expert"})

    def test_all_devices_or_none(self):
        report = self.simulated("--fidelity", "event", "--devices", "all")
        self.assertEqual([one["device_class"] for one in report["device_classes"]],
                         [f"fsdp={f}, expert={e}" for f in range(2) for e in range(2)])
        ranks = self.simulated("--fidelity", "event")
        self.assertEqual(report["step_time_ps"], ranks["step_time_ps"])
        for words in ([], ["--fidelity", "event", "--devices", "none"]):
            none = self.simulated(*words)
            self.assertIsNone(none["device_step"])
            self.assertEqual(none["device_classes"], [])

    def test_nothing_that_differs(self):
        words = ["simulate", *TINY, "-o", "json", "--fidelity", "event"]
        alike = "all devices do the same"
        asked = self.run_words([*words, "--devices", "ranks"]).json()
        self.assertIsNone(asked["device_step"])
        self.assertIn(alike, " ".join(asked["assumptions"]))
        self.assertNotIn(alike, " ".join(self.run_words(words).json()["assumptions"]))
        pipeline = self.run_words(
            ["simulate", *"model_name=qwen3-30b-a3b compile_topology=v5p-32 "
             "ici_pipeline_parallelism=2 ici_fsdp_parallelism=-1 ici_expert_parallelism=4 "
             "allow_split_physical_axes=true max_target_length=128 -o json --fidelity event "
             "--routing lognormal:sigma=0.45,seed=1".split()]).json()
        self.assertIsNone(pipeline["device_step"])
        self.assertIn("devices of a pipeline", " ".join(pipeline["not_modelled"]))

    def test_what_cannot_be_told_apart_is_refused(self):
        for words in (["--devices", "all"], ["--devices", "ranks", "--fidelity", "closed-form"],
                      ["--devices", "some", "--fidelity", "event"]):
            done = self.run_words(["simulate", *TINY, *self.SKEWED, *words])
            self.assertEqual((done.code, done.out), (USAGE, ""), words)


class Refusals(CommandLine):
    def refused(self, words, part, code=INVALID):
        done = self.run_words(["simulate", *TINY, *words])
        self.assertEqual(done.code, code, done.err)
        self.assertIn(part, done.err)
        self.assertEqual(done.out, "")

    def test_words(self):
        self.refused(["--routing", "lognorml:sigma=1"], "must be balanced, lognormal:")
        self.refused(["--routing", "lognormal:sigma=-1"], "sigma")
        self.refused(["--routing", "lognormal:sigma=nan"], "sigma")
        self.refused(["--routing", "lognormal:sigma=1,seed=1,seed=2"], "seed")
        self.refused(["--routing", "lognormal:sigma=1,sead=2"], "sead")
        self.refused(["--hash-table", "md6"], "must be one of zeros, random, md5")
        self.refused(["--token-law", "zipf:s=x"], "s:")

    def test_files(self):
        missing = str(self.folder / "none.jsonl")
        self.refused(["--routing", "trace:" + missing], "none.jsonl", IO)
        self.refused(["--hash-table", missing], "none.jsonl", IO)
        self.refused(["--routing", "trace:" + self.file("t.jsonl", '{"schema": "other/1"}\n')],
                     "t.jsonl:1")
        self.refused(["--routing", "trace:" + self.file("e.jsonl", "")], "e.jsonl")
        # 16 experts: 16 is none of them.
        self.refused(["--hash-table", self.file("table.txt", "0 1 2 16\n")], "table.txt:1:7")
        self.refused(["--hash-table", self.file("short.txt", "0 1 2 3\n")], "short.txt")
        self.refused(["--token-law", "histogram:" + self.file("h.txt", "0 -1\n"),
                      "--hash-table", "md5"], "h.txt:1")
