"""meshsim validate: runs as a user writes them, predicted by the ordinary path."""

import copy
import json
import pathlib

from command_line import DONE, INVALID, IO, NEGATIVE, USAGE, CommandLine

PUBLIC = pathlib.Path(__file__).resolve().parents[2] / "studies" / "runs" / "published_runs.json"

PLAN = {
    "compile_topology": "v5p-128", "slice_shape": [4, 4, 4], "ici_fsdp_parallelism": 64,
    "per_device_batch_size": 1, "max_target_length": 4096, "attention": "flash",
}


def row(**changes):
    one = {
        "id": "mine", "model": "llama3-8b", "chip": "v5p", "kind": "train_step", "family": "dense",
        "plan": dict(PLAN), "software": {"sparsecore_offload": None, "flag_groups": ["ANY"]},
        "measured": {"step_time_s": 1.0, "tokens_per_s": 3},
    }
    one.update(changes)
    return one


BLOCK = {
    "hidden": 2048, "mlp": 768, "experts": 64, "topk": 4, "shared_expert_mlp_dim": 2048,
    "tokens_per_device": 4096, "ep_size": 4, "dp_size": 2, "dispatch_variant": "ring",
    "capacity_factor": 1.25, "pass": "forward_backward",
}


class Validate(CommandLine):
    def runs(self, *rows):
        return self.file("runs.json", json.dumps({"schema": "published-runs/1", "rows": rows}))

    def validated(self, *rows):
        done = self.run_words(["validate", "--runs", self.runs(*rows), "-o", "json"])
        self.assertEqual((done.code, done.err), (DONE, ""))
        return done.json()

    def test_every_public_row_is_listed(self):
        report = self.run_words(["validate", "-o", "json"]).json()
        listed = [one["id"] for one in report["rows"]]
        self.assertEqual(listed, [one["id"] for one in json.loads(PUBLIC.read_text())["rows"]])
        for one in report["rows"]:
            silent = one["status"] in ("not_modelled", "refused") and not one["reason"]
            self.assertFalse(silent, one["id"])

    def test_a_row_is_what_simulate_says_of_its_keys(self):
        """The command of a row, given to a shell, predicts the same picosecond."""
        report = self.run_words(["validate", "-o", "json"]).json()
        for one in report["rows"]:
            if one["predicted_step_time_s"] is None or one["kind"] == "moe_block":
                continue
            with self.subTest(one["id"]):
                command = one["command"].removeprefix("meshsim ")
                plan = self.meshsim(command + " -o json").json()
                self.assertEqual(plan["step_time_ps"] / 1e12, one["predicted_step_time_s"])
                self.assertEqual(plan["peak_bytes"], one["predicted_peak_bytes"])

    def test_labels_do_not_matter(self):
        before = self.validated(row(), row(id="b", measured={"step_time_s": 2.0}))
        after = self.validated(
            row(id="x", family="f", quality="exact", ablation="a", notes="n"),
            row(id="y", ablation="a", measured={"step_time_s": 2.0}))
        for old, new in zip(before["rows"], after["rows"]):
            for key in ("predicted_step_time_s", "predicted_peak_bytes", "error_ratio"):
                self.assertEqual(old[key], new[key])

    def test_errors(self):
        t = self.validated(row())["rows"][0]["predicted_step_time_s"]
        # Predicted / measured - 1: +25 % and -20 %. Mean |e| 22.5 %, bias 2.5 %; the spread of two
        # is their distance over the root of 2: 45 % / 1.4142.
        report = self.validated(row(measured={"step_time_s": t / 1.25}),
                                row(id="b", measured={"step_time_s": t / 0.8}))
        summary = report["summary"]
        self.assertAlmostEqual(summary["mean_abs_error_ratio"], 0.225)
        self.assertAlmostEqual(summary["bias_ratio"], 0.025)
        self.assertAlmostEqual(summary["spread_ratio"], 0.45 / 2**0.5)
        self.assertEqual(summary["worst"]["id"], "mine")
        self.assertAlmostEqual(summary["worst"]["error_ratio"], 0.25)

    def test_order_within_an_ablation(self):
        """Equal plans are in no order; a pair closer than 3 % asks for none."""
        report = self.validated(row(ablation="a", measured={"step_time_s": 1.00}),
                                row(id="b", ablation="a", measured={"step_time_s": 1.02}),
                                row(id="c", ablation="a", measured={"step_time_s": 2.00}))
        (ablation,) = report["ablations"]
        self.assertEqual((ablation["pairs"], ablation["pairs_in_order"]), (2, 0))
        slower = row(id="b", ablation="a", measured={"step_time_s": 2.0},
                     plan={**PLAN, "per_device_batch_size": 2})
        (ablation,) = self.validated(row(ablation="a"), slower)["ablations"]
        self.assertEqual((ablation["pairs"], ablation["pairs_in_order"]), (1, 1))

    def test_max_error_is_an_exit_code(self):
        t = self.validated(row())["rows"][0]["predicted_step_time_s"]
        runs = self.runs(row(measured={"step_time_s": t / 1.1}))  # an error of 10 %
        for limit, code in (("0.11", DONE), ("0.09", NEGATIVE), ("-1", USAGE), ("x", USAGE)):
            done = self.run_words(["validate", "--runs", runs, "--max-error", limit])
            self.assertEqual(done.code, code, limit)
        nothing = self.runs(row(measured={}))
        done = self.run_words(["validate", "--runs", nothing, "--max-error", "1"])
        self.assertEqual(done.code, NEGATIVE)

    def test_memory(self):
        """A run that was refused for lack of memory needs more than the HBM, however much."""
        report = self.validated(
            row(measured={"hbm_argument_gib": 2.0, "hbm_total_gib": 4.0, "oom_at_compile": True}))
        (one,) = report["rows"]
        self.assertEqual((one["oom_predicted"], one["oom_measured"]), (False, True))
        self.assertEqual((report["summary"]["oom_rows"], report["summary"]["oom_right"]), (1, 0))
        self.assertAlmostEqual(one["total_error_ratio"], one["predicted_total_gib"] / 4 - 1)
        # Parameters, mu and nu in fp32 over 64 chips, and a little for the batch and what is
        # replicated: 8.03e9 x 12 B / 64.
        self.assertAlmostEqual(one["predicted_arguments_gib"], 8.03e9 * 12 / 64 / 2**30, delta=0.02)

    def test_rows_that_cannot_be_predicted_say_why(self):
        cases = (
            (row(plan={**PLAN, "per_device_batch_siz": 1}), "refused", "per_device_batch_siz"),
            (row(model="llama9"), "refused", "llama9"),
            (row(chip="v6e"), "refused", "v6e"),
            (row(software={"warp_drive": True}), "refused", "warp_drive"),
            (row(kind="inference"), "not_modelled", "inference"),
            (row(kind="moe_block", block={**BLOCK, "dispatch_variant": "magic"}), "not_modelled",
             "magic"),
        )
        for one, status, reason in cases:
            with self.subTest(reason):
                (found,) = self.validated(one)["rows"]
                self.assertEqual(found["status"], status)
                self.assertIn(reason, found["reason"])
                self.assertIsNone(found["predicted_step_time_s"])

    def test_a_block_overrides_its_plan(self):
        plan = {"compile_topology": "v5p-16", "slice_shape": [2, 2, 2], "ici_expert_parallelism": 8}
        (one,) = self.validated(
            row(kind="moe_block", model="nobody-knows", plan=plan, block=BLOCK))["rows"]
        for words in ("ici_expert_parallelism=4", "ici_data_parallelism=2", "num_experts=64",
                      "max_target_length=4096", "--moe-block dispatch_variant=ring",
                      "--moe-block shared_expert_mlp_dim=2048"):
            self.assertIn(words, one["command"])
        self.assertNotIn("ici_expert_parallelism=8", one["command"])
        self.assertNotEqual(one["status"], "refused", one["reason"])

    def test_files_that_are_no_runs(self):
        good = {"schema": "published-runs/1", "rows": [row()]}
        cases = (
            ({**good, "schema": "published-runs/2"}, "published-runs/1"),
            ({**good, "rows": {}}, "rows"),
            ({**good, "rows": [row(), row()]}, "stands twice"),
            ({**good, "rows": [{"id": "x"}]}, "rows[0].model"),
            ({**good, "rows": [row(measured={"step_time_s": "fast"})]}, "step_time_s"),
            ({**good, "rows": [row(measured={"step_time_s": 0})]}, "above 0"),
            ({**good, "rows": [row(kind="moe_block")]}, "block"),
            ({**good, "rows": [row(kind="moe_block", block={**BLOCK, "topk": 0})]}, "topk"),
            ([], "mapping"),
        )
        for document, complaint in cases:
            with self.subTest(complaint):
                path = self.file("bad.json", json.dumps(copy.deepcopy(document)))
                done = self.run_words(["validate", "--runs", path])
                self.assertEqual((done.code, done.out), (INVALID, ""))
                self.assertIn(complaint, done.err)
        self.assertEqual(self.run_words(["validate", "--runs", "nowhere.json"]).code, IO)
        self.assertEqual(self.run_words(["validate", "--runs", ""]).code, USAGE)
