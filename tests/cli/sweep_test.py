"""A space of plans: every row is what simulate says of its command."""

import csv
import io
import json
import shlex

from command_line import DATA, DONE, INVALID, IO, USAGE, CommandLine

# 16 plans: some fit, some do not, some are refused.
SPACE = (DATA / "sweep" / "flash.yml").read_text(encoding="utf-8")


class Sweep(CommandLine):
    def sweep(self, *words, space=SPACE):
        return self.run_words(["sweep", self.file("space.yml", space), *words])

    def test_each_row_is_what_simulate_says_of_its_command(self):
        done = self.sweep("-o", "json")
        self.assertEqual(done.code, DONE, done.err)
        report = done.json()
        # 2 slices x 2 degrees of EP, each with one fsdp degree that fills the chips, x 2 x 2.
        self.assertEqual(len(report["plans"]), 16)
        self.assertEqual(len({plan["plan_hash"] for plan in report["plans"]}), 16)
        verdicts = set()
        for plan in report["plans"]:
            verdicts.add(plan["verdict"])
            words = shlex.split(plan["command"])
            alone = self.run_words([*words[1:], "-o", "json"])
            if plan["verdict"] == "refused":
                self.assertEqual(alone.code, INVALID)
                self.assertIn(plan["reason"].split(": ", 1)[1], alone.err)
                continue
            said = alone.json()
            for field in ("verdict", "step_time_ps", "peak_bytes", "mfu_ratio"):
                self.assertEqual(plan[field], said[field], (field, plan["command"]))
            self.assertEqual(plan["plan_hash"], said["provenance"]["config_sha256"])
            # One chip of v5p is one device.
            self.assertEqual(plan["tokens_per_chip_hour"], 3600 * plan["tokens_per_s_per_device"])
        self.assertEqual(verdicts, {"fits", "does_not_fit", "refused"})

    def test_the_summary_is_of_the_rows(self):
        report = self.sweep("-o", "json").json()
        plans = report["plans"]
        fits = [plan for plan in plans if plan["verdict"] == "fits"]
        self.assertEqual(report["counts"]["plans"], len(plans))
        self.assertEqual(report["counts"]["fits"], len(fits))
        self.assertEqual(sum(r["count"] for r in report["rejected"]), len(plans) - len(fits))
        best = sorted(fits, key=lambda plan: -plan["tokens_per_chip_hour"])
        self.assertEqual(report["top"], best[:10])
        self.assertEqual([plan["chips"] for plan in report["best_by_chips"]], [128, 256])
        for plan in report["front"]:
            self.assertIn(plan, fits)

    def test_other_forms_hold_the_same_rows(self):
        plans = self.sweep("-o", "json").json()["plans"]
        rows = list(csv.DictReader(io.StringIO(self.sweep("-o", "csv").out)))
        self.assertEqual([row["plan_hash"] for row in rows], [p["plan_hash"] for p in plans])
        lines = [json.loads(line) for line in self.sweep("-o", "jsonl").out.splitlines()]
        self.assertEqual([line["record"] for line in lines], ["head", *["plan"] * 16, "summary"])
        self.assertEqual([line["plan_hash"] for line in lines[1:-1]],
                         [p["plan_hash"] for p in plans])
        self.assertIn("best: meshsim simulate", self.sweep().out)

    def test_bytes_do_not_depend_on_threads(self):
        for form in ("table", "json", "jsonl", "csv"):
            one = self.sweep("-o", form, "--threads", "1")
            four = self.sweep("-o", form, "--threads", "4")
            self.assertEqual((one.code, four.code), (DONE, DONE))
            self.assertEqual(one.out, four.out)

    def test_bad_words_and_files(self):
        self.assertEqual(self.sweep("--threads", "-1").code, USAGE)
        self.assertEqual(self.sweep("--threads", "many").code, USAGE)
        self.assertEqual(self.sweep("--top", "1e3").code, USAGE)
        self.assertEqual(self.sweep("-o", "html").code, USAGE)
        self.assertEqual(self.sweep("--progress", "loud").code, USAGE)
        self.assertEqual(self.run_words(["sweep"]).code, USAGE)
        self.assertEqual(self.run_words(["sweep", "/nonexistent/space.yml"]).code, IO)
        done = self.sweep(space="axes: {remat_policy: full}\n")
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("space.yml:1", done.err)

    def test_a_target_that_cannot_be_written(self):
        target = self.file("report.json", "old")
        done = self.sweep("-o", "json", "--out", "/dev/full")
        self.assertEqual((done.code, done.out), (IO, ""))
        self.assertEqual(self.sweep("-o", "json", "--out", "/nonexistent/report.json").code, IO)
        self.assertEqual(self.sweep("-o", "json", "--out", target).code, DONE)
        with open(target, encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["plans"]), 16)

    def test_progress_is_lines_of_json_for_wrappers(self):
        done = self.sweep("--progress", "json", "--out", str(self.folder / "report"))
        self.assertEqual((done.code, done.out), (DONE, ""))
        last = json.loads(done.err.splitlines()[-1])
        self.assertEqual((last["done"], last["total"]), (16, 16))
        self.assertEqual(last["left_s"], 0)
        self.assertGreater(last["best"]["step_time_ps"], 0)
