"""A space of plans: every row is what simulate says of its command."""

import contextlib
import csv
import io
import json
import pathlib
import resource
import shlex
import signal
import sqlite3
import subprocess
import tempfile
import time

import command_line
from command_line import (
    DATA, DONE, FLASH, INTERRUPTED, INVALID, IO, RESOURCE, USAGE, CommandLine)

ROOT = pathlib.Path(__file__).resolve().parents[2]
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

    def test_the_best_are_refined_in_the_event_engine(self):
        plain = self.sweep("-o", "json").json()
        self.assertEqual((plain["refined"], plain["refined_routing"]), ([], None))
        for routing in (None, "lognormal:sigma=0.5,seed=3"):
            words = ["--refine", "3", *(["--refine-routing", routing] if routing else [])]
            report = self.sweep("-o", "json", "--top", "2", *words).json()
            self.assertEqual(report["top"], plain["top"][:2])
            self.assertEqual(report["refined_routing"], routing)
            refined = report["refined"]
            self.assertEqual({row["index"] for row in refined},
                             {row["index"] for row in plain["top"][:3]})
            rates = [row["tokens_per_chip_hour"] for row in refined]
            self.assertEqual(rates, sorted(rates, reverse=True))
            for row in refined:
                swept = plain["plans"][row["index"]]
                self.assertEqual(row["closed_form_step_time_ps"], swept["step_time_ps"])
                said = self.report(*shlex.split(row["command"])[1:], "-o", "json")
                self.assertEqual(said["fidelity"], "event")
                for field in ("verdict", "step_time_ps", "peak_bytes"):
                    self.assertEqual(row[field], said[field], row["command"])
                if routing:
                    self.assertEqual(said["resolved"]["meshsim.routing"]["value"], routing)
                self.assertAlmostEqual(row["difference_ratio"],
                                       row["step_time_ps"] / swept["step_time_ps"] - 1)
            for form in ("json", "table", "jsonl"):
                self.assertEqual(self.sweep("-o", form, "--threads", "1", *words).out,
                                 self.sweep("-o", form, "--threads", "3", *words).out)

    def test_a_refinement_that_cannot_be(self):
        for bad in (["--refine", "-1"], ["--refine", "x"], ["--refine", "1", "-o", "csv"],
                    ["--refine-routing", "balanced"]):
            self.assertEqual(self.sweep(*bad).code, USAGE, bad)
        done = self.sweep("--refine", "1", "--refine-routing", "zipf")
        self.assertEqual((done.code, done.out), (INVALID, ""))
        # No plan fits: there is nothing to refine.
        none = self.sweep("--refine", "2", "-o", "json", space=SPACE.replace("v5p-256, v5p-512", "v5p-64"))
        self.assertEqual((none.code, none.json()["refined"]), (DONE, []))

    def test_other_forms_hold_the_same_rows(self):
        plans = self.sweep("-o", "json").json()["plans"]
        rows = list(csv.DictReader(io.StringIO(self.sweep("-o", "csv").out)))
        self.assertEqual([row["plan_hash"] for row in rows], [p["plan_hash"] for p in plans])
        lines = [json.loads(line) for line in self.sweep("-o", "jsonl").out.splitlines()]
        self.assertEqual([line["record"] for line in lines], ["head", *["plan"] * 16, "summary"])
        self.assertEqual([line["plan_hash"] for line in lines[1:-1]],
                         [p["plan_hash"] for p in plans])
        self.assertIn("fastest plan that fits with p >= 0.95:\n  meshsim simulate", self.sweep().out)

    def test_bytes_do_not_depend_on_threads(self):
        for form in ("table", "json", "jsonl", "csv"):
            one = self.sweep("-o", form, "--threads", "1")
            four = self.sweep("-o", form, "--threads", "4")
            self.assertEqual((one.code, four.code), (DONE, DONE))
            self.assertEqual(one.out, four.out)

    def test_nothing_to_choose_from(self):
        # None of the best is listed, and yet there are some.
        shown = self.sweep("--top", "0")
        self.assertIn("fastest plan that fits", shown.out)
        self.assertNotIn("NO PLAN", shown.out)
        self.assertIn("the best that should fit",
                      self.sweep("--top", "0", "--fit-probability", "1").out)
        none = self.sweep(space=SPACE.replace("where:", "where:\n  - 1 == 2"))
        self.assertEqual(none.code, DONE, none.err)
        self.assertIn("NO PLAN MEETS THE CONDITIONS", none.out)
        # One failure a second and chip: a job that never ends has no price.
        stuck = self.sweep("-o", "json", "--mtbf-per-chip", "1s", "--checkpoint-time", "30s",
                           "--price-per-chip-hour", "2").json()
        for row in stuck["front"]:
            self.assertEqual((row["goodput_ratio"], row["tokens_per_chip_hour"]), (0, 0))
            self.assertNotIn("cost_per_trillion_tokens", row)

    def test_a_huge_space_is_stopped_at_once(self):
        numbers = ", ".join(map(str, range(1, 1001)))
        axes = "".join(f"  {key}: [{numbers}]\n" for key in ("steps", "log_period", "eval_steps"))
        space = LONG[:LONG.index("axes:")] + "axes:\n" + axes
        # Counted at once; or not for long, since little of it meets the condition.
        for where in ("", "where: steps * log_period * eval_steps > 999000000\n"):
            sweep = subprocess.Popen(
                [command_line.PROGRAM, "sweep", self.file("huge.yml", space + where), "-o", "csv",
                 "--out", str(self.folder / "huge.csv")],
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(1)
            asked = time.monotonic()
            sweep.send_signal(signal.SIGINT)
            _, messages = sweep.communicate(timeout=60)
            self.assertEqual(sweep.returncode, INTERRUPTED, messages)
            self.assertLess(time.monotonic() - asked, 1)

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


# 512 plans, of which every one is priced.
LONG = """
base:
  model_name: deepseek4-284b
  attention: dot_product
  weight_dtype: bfloat16
  compile_topology: v5p-512
axes:
  max_target_length: [1024, 2048, 3072, 4096]
  per_device_batch_size: [1, 2]
  wi_tile_fwd_batch_seq: [128, 256, 512, 1024]
  num_vocab_tiling: [1, 4]
  gradient_accumulation_steps: [1, 2]
  remat_policy: [full, save_out_proj]
  opt_type: [adamw, sgd]
"""


class Interrupted(CommandLine):
    def setUp(self):
        super().setUp()
        self.space = self.file("space.yml", LONG)
        self.store = str(self.folder / "store.db")

    def start(self, *words):
        # Its rows go to a file: nobody reads them before it ends, and a full pipe would stop it.
        self.rows = tempfile.TemporaryFile()
        self.addCleanup(self.rows.close)
        return subprocess.Popen(
            [command_line.PROGRAM, "sweep", self.space, "-o", "jsonl", "--progress", "json", *words],
            stdin=subprocess.DEVNULL, stdout=self.rows, stderr=subprocess.PIPE, text=True)

    def stored(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as store:
            return store.execute("SELECT count(*) FROM plans").fetchone()[0]

    report = ""  # of an uninterrupted sweep

    def whole(self):
        if not Interrupted.report:
            done = self.run_words(["sweep", self.space, "-o", "jsonl"])
            self.assertEqual(done.code, DONE, done.err)
            Interrupted.report = done.out
        # The path of the space differs from test to test.
        old = json.loads(Interrupted.report.splitlines()[0])["space"]["source"]
        return Interrupted.report.replace(old, self.space)

    def wait_for_progress(self, sweep, lines):
        """Its first line comes with the first plans, the next ones four times a second."""
        for _ in range(lines):
            sweep.stderr.readline()

    def test_kill_at_several_moments_then_resume(self):
        whole = self.whole()
        for lines in (0, 1, 3):
            killed = self.start("--store", self.store, "--resume")
            self.wait_for_progress(killed, lines)
            killed.kill()
            killed.communicate()
        done = self.run_words(["sweep", self.space, "-o", "jsonl", "--store", self.store,
                               "--resume", "--threads", "1"])
        self.assertEqual(done.code, DONE, done.err)
        self.assertEqual(done.out, whole)
        self.assertEqual(self.stored(), 512)
        # All of it is known now: the same bytes, and none of it is computed again.
        again = self.run_words(["sweep", self.space, "-o", "jsonl", "--store", self.store,
                                "--resume"])
        self.assertEqual(again.out, whole)

    def test_an_interrupt_stops_within_a_second_and_says_how_to_go_on(self):
        whole = self.whole()
        sweep = self.start("--store", self.store)
        self.wait_for_progress(sweep, 1)
        asked = time.monotonic()
        sweep.send_signal(signal.SIGINT)
        _, messages = sweep.communicate()
        self.rows.seek(0)
        self.assertEqual((sweep.returncode, self.rows.read()), (INTERRUPTED, b""), messages)
        self.assertLess(time.monotonic() - asked, 1)
        command = shlex.split(messages.splitlines()[-1])
        self.assertEqual(command[0], "meshsim")
        self.assertIn("--resume", command)
        done = self.run_words(command[1:])
        self.assertEqual((done.code, done.out), (DONE, whole), done.err)

    def test_another_configuration_is_refused_with_the_difference(self):
        small = self.file("small.yml", SPACE)
        self.assertEqual(self.run_words(["sweep", small, "--store", self.store]).code, DONE)
        other = self.file("other.yml", SPACE.replace("[1, 4]", "[1, 2]"))
        done = self.run_words(["sweep", other, "--store", self.store, "--resume"])
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("axes.per_device_batch_size", done.err)
        # Without --resume the plans that it holds are not thrown away.
        self.assertEqual(self.run_words(["sweep", small, "--store", self.store]).code, INVALID)
        self.assertEqual(self.stored(), 16)
        self.assertEqual(self.run_words(["sweep", small, "--resume"]).code, USAGE)

    def test_a_store_that_another_run_has_is_left_alone(self):
        first = self.start("--store", self.store)
        self.wait_for_progress(first, 1)
        second = self.run_words(["sweep", self.space, "--store", self.store, "--resume"])
        first.kill()
        first.communicate()
        self.assertEqual((second.code, second.out), (IO, ""))
        self.assertIn("is locked", second.err)

    def rows_of_store(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as store:
            return store.execute("SELECT * FROM plans ORDER BY plan").fetchall()

    def test_a_full_disk_loses_nothing_that_was_committed(self):
        resume = ["sweep", self.space, "--store", self.store, "--resume"]
        self.assertEqual(self.run_words(resume).code, DONE)
        for kept in (100, 0):  # as if that many had been committed when the run died
            with contextlib.closing(sqlite3.connect(self.store)) as store:
                store.execute("DELETE FROM plans WHERE plan >= ?", (kept,))
                store.commit()
            committed = self.rows_of_store()
            self.assertEqual(len(committed), kept)
            # No file may grow beyond so much: nothing at all, the first pages, some of the rows.
            for limit in (1 << 10, 1 << 13, 1 << 14, 1 << 15, 1 << 15):
                def small_disk(limit=limit):
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

                full = subprocess.run([command_line.PROGRAM, *resume], stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, preexec_fn=small_disk,
                                      check=False)
                self.assertEqual((full.returncode, full.stdout), (IO, ""), full.stderr)
                self.assertIn(self.store, full.stderr)
                self.assertEqual(self.rows_of_store()[:kept], committed)
        done = self.run_words([*resume, "-o", "jsonl"])
        self.assertEqual((done.code, done.out), (DONE, self.whole()), done.err)


    def test_without_memory_the_sweep_ends_with_a_message_and_what_was_found_stays(self):
        # 3,072 plans, which one after the other do not find room in so little.
        lengths = ", ".join(str(256 * i) for i in range(1, 25))
        self.space = self.file("long.yml", LONG.replace("1024, 2048, 3072, 4096", lengths))
        words = ["sweep", self.space, "-o", "csv", "--threads", "1"]
        resume = [*words, "--store", self.store, "--resume"]
        def least_memory():
            resource.setrlimit(resource.RLIMIT_AS, (50 << 20, 50 << 20))

        if subprocess.run([command_line.PROGRAM, "--version"], preexec_fn=least_memory,
                          capture_output=True, check=False).returncode != DONE:
            self.skipTest("a sanitizer wants more address space than that")
        kept, codes = 0, set()
        for mebibytes in (50, 54, 58, 62):
            def little_memory(limit=mebibytes << 20):
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

            ended = subprocess.run([command_line.PROGRAM, *resume], stdin=subprocess.DEVNULL,
                                   capture_output=True, text=True, preexec_fn=little_memory,
                                   check=False, timeout=60)
            codes.add(ended.returncode)
            if ended.returncode == DONE:
                break
            self.assertEqual((ended.returncode, ended.stdout), (RESOURCE, ""), ended.stderr)
            self.assertIn("out of memory", ended.stderr)
            self.assertGreaterEqual(self.stored(), kept)
            kept = self.stored()
        self.assertIn(RESOURCE, codes)
        done = self.run_words(resume)
        self.assertEqual((done.code, done.out), (DONE, self.run_words(words).out), done.err)

    def test_another_calibration_is_another_sweep(self):
        calibration = json.loads((ROOT / "topologies" / "calibration.json").read_text("utf-8"))
        path = self.file("calibration.json", json.dumps(calibration))
        space = self.file("calibrated.yml", "base:\n  base_config: plan.yml\n"
                          "axes: {num_vocab_tiling: [1, 4]}\n")
        self.file("plan.yml", "".join(f"{word.replace('=', ': ', 1)}\n" for word in FLASH) +
                  f"meshsim: {{calibration: {json.dumps(path)}}}\n")
        words = ["sweep", space, "--store", self.store, "--resume"]
        self.assertEqual(self.run_words(words).code, DONE)
        calibration["constants"][0]["value"] = calibration["constants"][0]["low"]
        self.file("calibration.json", json.dumps(calibration))
        done = self.run_words(words)
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("calibration", done.err)

    def test_two_runs_into_one_file_leave_one_whole_report(self):
        target = str(self.folder / "report.jsonl")
        small = self.file("small.yml", SPACE)
        alone = [self.run_words(["sweep", space, "-o", "jsonl"]).out
                 for space in (self.space, small)]
        runs = [self.start("--out", target),
                subprocess.Popen([command_line.PROGRAM, "sweep", small, "-o", "jsonl", "--out",
                                  target], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)]
        for run in runs:
            run.communicate(timeout=60)
            self.assertEqual(run.returncode, DONE)
        with open(target, encoding="utf-8") as file:
            self.assertIn(file.read(), alone)


class Search(CommandLine):
    # MaxText's estimator walks remat policies and batch sizes and compiles each.
    ESTIMATED = (
        "model_name=deepseek3-671b compile_topology=v5p-1024 per_device_batch_size=2 "
        "max_target_length=8192 remat_policy=custom decoder_layer_input=offload "
        "ici_fsdp_parallelism=-1 attention=flash",
        "model_name=llama3.1-405b compile_topology=v5p-1024 per_device_batch_size=1 "
        "max_target_length=8192 ici_context_parallelism=4 ici_fsdp_parallelism=-1 "
        "allow_split_physical_axes=true attention=flash",
    )

    def test_what_the_estimator_would_compile_and_a_plan_that_fit_confirms(self):
        for words in self.ESTIMATED:
            stated = words.split()
            done = self.run_words(["search", *stated, "-o", "json"])
            self.assertEqual(done.code, DONE, done.err)
            report = done.json()
            self.assertGreater(len(report["plans"]), 10)
            for plan in report["plans"]:  # what is stated stays
                for word in stated:
                    self.assertIn(word, shlex.split(plan["command"]))
            fastest = report["fastest"]
            self.assertGreaterEqual(fastest["fit_probability"], 0.95)
            sure = [p for p in report["plans"]
                    if p["verdict"] == "fits" and p["fit_probability"] >= 0.95]
            self.assertEqual(min(p["step_time_ps"] for p in sure), fastest["step_time_ps"])
            confirmed = self.run_words(["fit", *shlex.split(fastest["command"])[2:], "-o", "json"])
            self.assertEqual(confirmed.code, DONE, confirmed.err)
            self.assertEqual(confirmed.json()["step_time_ps"], fastest["step_time_ps"])
            # The table lists the probes.
            table = self.run_words(["search", *stated]).out
            for plan in report["plans"]:
                self.assertIn(plan["change"], table)

    def test_what_is_left_open_is_searched(self):
        done = self.run_words(["search", "model_name=llama3.1-8b", "compile_topology=v5p-16",
                               "attention=flash", "remat_policy=full", "max_target_length=2048",
                               "-o", "json"])
        self.assertEqual(done.code, DONE, done.err)
        report = done.json()
        # 8 chips: context x tensor in {1, 2, 4, 8}^2 with a product of at most 8, which are
        # 4 + 3 + 2 + 1 = 10 meshes; batches of 1, 2, 4, 8, 16.
        self.assertEqual(len(report["plans"]), 50)
        self.assertEqual(report["smallest_slice"]["chips"], 8)

    def test_goodput_and_prices_of_every_plan(self):
        words = [*FLASH, "ici_fsdp_parallelism=-1", "use_ring_of_experts=false",
                 "remat_policy=full", "weight_dtype=bfloat16"]
        plain = self.run_words(["search", *words, "-o", "json"]).json()["fastest"]
        self.assertNotIn("goodput_ratio", plain)
        report = self.run_words(["search", *words, "--mtbf-per-chip", "50000h",
                                 "--checkpoint-time", "30s", "--restart-time", "5min",
                                 "--price-per-chip-hour", "2", "-o", "json"]).json()
        fastest = report["fastest"]
        self.assertEqual(fastest["plan_hash"], plain["plan_hash"])
        # 256 chips fail every 50,000 h / 256 = 703,125 s; Young: sqrt(2 x 30 x 703,125) = 6,495 s.
        self.assertAlmostEqual(fastest["checkpoint_interval_s"], 6495, delta=6495 * 0.01)
        # A checkpoint costs 30/6,495 = 0.46 %, work thrown away 3,248/703,125 = 0.46 %, restarts
        # 300/703,125 = 0.04 %.
        self.assertAlmostEqual(fastest["goodput_ratio"], 1 - 0.0046 - 0.0046 - 0.0004, delta=1e-3)
        self.assertAlmostEqual(fastest["tokens_per_chip_hour"] / plain["tokens_per_chip_hour"],
                               fastest["goodput_ratio"])
        self.assertAlmostEqual(fastest["cost_per_trillion_tokens"],
                               2e12 / fastest["tokens_per_chip_hour"], delta=1)
        for bad in (["--mtbf-per-chip", "50000"], ["--checkpoint-time", "30s"],
                    ["--mtbf-per-chip", "0h", "--checkpoint-time", "30s"],
                    ["--mtbf-per-chip", "1h"], ["--price-per-chip-hour", "nan"]):
            self.assertEqual(self.run_words(["search", *words, *bad]).code, USAGE, bad)
