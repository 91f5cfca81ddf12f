"""Where the time of a step goes, and what to try first."""

import shlex

from command_line import FLASH, INVALID, CommandLine

MIXTRAL = "model_name=mixtral-8x7b compile_topology=v5p-128 per_device_batch_size=2 " \
          "max_target_length=2048 attention=dot_product".split()


class Explain(CommandLine):
    def explained(self, *words):
        return self.report("explain", *words, "-o", "json")

    def test_nothing_of_the_step_is_left_over(self):
        for plan in (FLASH, [*FLASH, "ici_expert_parallelism=8"], MIXTRAL):
            for fidelity in ("closed-form", "event"):
                report = self.explained(*plan, "--fidelity", fidelity)
                step = report["step_time_ps"]
                self.assertEqual(sum(part["ps"] for part in report["causes"]), step)
                self.assertEqual(sum(part["ps"] for part in report["critical_path"]), step)
                simulated = self.report("simulate", *plan, "--fidelity", fidelity, "-o", "json")
                self.assertEqual(simulated["step_time_ps"], step)
                self.assertEqual(sum(part["ps"] for part in simulated["time"]), step)

    def test_the_causes_are_those_of_the_simulation(self):
        report = self.explained(*FLASH)
        time = self.report("simulate", *FLASH, "-o", "json")["time"]
        recomputed = sum(part["ps"] for part in time if part["pass"] == "recompute")
        self.assertEqual(
            sum(part["ps"] for part in report["causes"] if part["group"] == "recompute"), recomputed)
        exposed = sum(part["ps"] for part in time
                      if part["cause"] == "exposed:fsdp" and part["pass"] != "recompute")
        self.assertIn({"group": "exposed_ici", "detail": "fsdp", "ps": exposed,
                       "share_ratio": exposed / report["step_time_ps"]}, report["causes"])
        # Nothing is computed again where everything is kept.
        kept = self.explained(*MIXTRAL, "remat_policy=none")
        self.assertNotIn("recompute", {part["group"] for part in kept["causes"]})
        self.assertNotIn("recompute", {part["pass"] for part in kept["critical_path"]})

    def test_what_waits_for_dcn_stands_apart(self):
        report = self.explained(*MIXTRAL, "compile_topology_num_slices=2", "dcn_data_parallelism=2")
        exposed = {(part["group"], part["detail"]) for part in report["causes"]}
        self.assertIn(("exposed_dcn", "data"), exposed)
        self.assertIn(("exposed_ici", "fsdp"), exposed)

    def test_each_change_gains_what_it_says(self):
        for plan in (FLASH, MIXTRAL, [*FLASH, "--software", "stack=3"]):
            report = self.explained(*plan)
            changes = report["changes"]
            self.assertEqual(len(changes), 3)
            for change in changes:
                words = shlex.split(change["command"])
                self.assertEqual(words[:2], ["meshsim", "simulate"])
                other = self.report(*words[1:], "-o", "json")
                self.assertEqual(other["verdict"], "fits")
                for field in ("step_time_ps", "tokens_per_s_per_device", "peak_bytes"):
                    self.assertEqual(change[field], other[field])
                self.assertAlmostEqual(
                    other["tokens_per_s_per_device"] / report["tokens_per_s_per_device"] - 1,
                    change["gain_ratio"])
                self.assertGreater(change["gain_ratio"], 0)
            gains = [change["gain_ratio"] for change in changes]
            self.assertEqual(gains, sorted(gains, reverse=True))
            tried = report["tried"]
            self.assertEqual(tried["plans"], tried["faster"] + tried["not_faster"] +
                             tried["too_large"] + tried["refused"] + tried["not_modelled"])

    def test_a_change_of_the_batch_is_said_to_be_one(self):
        changes = self.explained(*FLASH, "weight_dtype=bfloat16")["changes"]
        for change in changes:
            self.assertEqual(change["changes_training"], "per_device_batch_size" in change["change"])
        self.assertTrue(any(change["changes_training"] for change in changes))

    def test_a_step_that_is_not_modelled_cannot_be_explained(self):
        done = self.run_words(["explain", *FLASH, "quantization=int4"])
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("training in int4", done.err)
