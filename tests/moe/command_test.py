#!/usr/bin/env python3
"""`meshsim moe` as a user meets it: golden files good and bad, validation runs, MPI."""

import argparse
import copy
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
PROGRAM = ""
STRATEGIES = [
    "ragged_all_to_all",
    "ring_of_experts",
    "token_chunks",
    "embedding_chunks",
    "batch_split",
]


def call(*words, stdin=None, env=None):
    return subprocess.run(
        [PROGRAM, "moe", *words],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        env=env,
        check=False,
    )


def mpirun(ranks, *words):
    return subprocess.run(
        [
            "mpirun",
            "--allow-run-as-root",
            "--oversubscribe",
            "-np",
            str(ranks),
            PROGRAM,
            "moe",
            "run",
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        # OpenMPI leaves allocations behind, which are not ours to find.
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        check=False,
    )


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def lines_of(file):
    lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class Check(unittest.TestCase):
    def refused(self, document, *parts):
        text = document if isinstance(document, str) else json.dumps(document)
        result = call("check", "-", "-o", "json", stdin=text)
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertEqual(result.stdout, "")
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_a_miss_is_exit_code_3_with_its_errors(self):
        document = golden("routed_moe_v4")
        document["cases"] = document["cases"][:1]
        document["cases"][0]["expected"]["output"]["data"][3] += 0.01
        result = call("check", "-", "-o", "json", stdin=json.dumps(document))
        self.assertEqual(result.returncode, 3)
        report = json.loads(result.stdout)
        self.assertEqual((report["passed"], report["failed"]), (3, 1))
        missed = [case for case in report["cases"] if not case["passed"]]
        self.assertEqual(missed[0]["tensor"], "output")
        self.assertAlmostEqual(missed[0]["max_abs_error"], 0.01, places=4)

    def test_tolerances_are_those_of_the_file(self):
        document = golden("topk_router_v4")
        document["atol"] = document["rtol"] = 0
        self.assertEqual(call("check", "-", stdin=json.dumps(document)).returncode, 3)
        document["atol"] = 1e-5
        self.assertEqual(call("check", "-", stdin=json.dumps(document)).returncode, 0)

    def test_faults_are_named_with_their_place(self):
        good = golden("routed_moe_v4")
        good["cases"] = good["cases"][:1]

        def changed(change):
            document = copy.deepcopy(good)
            change(document["cases"][0])
            return document

        self.refused(changed(lambda c: c["inputs"].pop("w1")), "cases[0].inputs.w1", "missing")
        self.refused(
            changed(lambda c: c["inputs"]["w0"].update(shape=[8, 12, 8])),
            "cases[0].inputs.w0",
            "[8, 8, 12]",
        )
        self.refused(
            changed(lambda c: c["inputs"]["w0"].update(shape=[8, 8, 13])),
            "cases[0].inputs.w0.data",
            "832 elements",
        )
        self.refused(changed(lambda c: c["config"].update(top_k=9)), "top_k 9", "8 experts")
        self.refused(changed(lambda c: c["config"].pop("E")), "cases[0].config.E")
        nan = changed(lambda c: c["inputs"]["wo"]["data"].__setitem__(2, float("nan")))
        self.refused(nan, "cases[0].inputs.wo.data", "NaN")
        self.refused(json.dumps(good).replace('"w0": {', '"w0": {"x": 1, '), "inputs.w0.x")
        self.refused({**good, "behaviour": "routed_moe_v5"}, "routed_moe_v4")
        self.refused({**good, "schema": "moe-golden/2"}, "moe-golden/1")
        self.refused(json.dumps(good)[:500], "<stdin>:1:")
        hashed = golden("hash_router_v4")
        hashed["cases"][0]["inputs"]["input_ids"]["data"][1] = 16
        self.refused(hashed, "input_ids", "basic")

    def test_no_tokens_are_a_case_like_any_other(self):
        for name in ("routed_moe_v4", "routed_moe_v4_grad", "ep_sharded_forward"):
            document = golden(name)
            case = document["cases"][0]
            case["config"]["S"] = 0
            for tensors in (case["inputs"], case["expected"]):
                for key, tensor in tensors.items():
                    if key in ("x", "dy", "output", "dx") or (
                        key in ("indices", "weights") and len(tensor["shape"]) == 3
                    ):
                        tensor.update(data=[], shape=[tensor["shape"][0], 0, tensor["shape"][2]])
                    elif key in ("indices", "weights"):
                        tensor.update(data=[], shape=[0, tensor["shape"][1]])
                    elif tensors is case["expected"]:  # no slots, no gradients, no rows
                        tensor["data"] = [0] * len(tensor["data"])
            document["cases"] = [case]
            result = call("check", "-", stdin=json.dumps(document))
            self.assertEqual(result.returncode, 0, name + result.stdout + result.stderr)

    def test_files_of_many_values(self):
        document = golden("routed_moe_v4")
        document["cases"] = document["cases"][:1] * 100  # of 2600 values each
        result = call("check", "-", "-o", "json", stdin=json.dumps(document))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["passed"], 400)

    def test_files_that_cannot_be_read(self):
        self.assertEqual(call("check", "/nowhere.json").returncode, 6)
        self.assertEqual(call("check", str(GOLDEN)).returncode, 5)
        self.assertEqual(call("check").returncode, 2)


class Run(unittest.TestCase):
    def test_every_strategy_moves_what_is_predicted_and_agrees_with_one_rank(self):
        for strategy in STRATEGIES:
            result = call(
                "run",
                "ranks=4",
                "num_hash_layers=0",
                f"strategy={strategy}",
                "layers=2",
                "-o",
                "json",
            )
            self.assertEqual(result.returncode, 0, result.stderr)
            report = json.loads(result.stdout)
            self.assertTrue(report["predicted_equals_moved"])
            self.assertTrue(report["single_rank"]["passed"])
            self.assertEqual(report["sent_bytes"], report["received_bytes"])
            self.assertEqual(
                report["sent_bytes"], sum(row["bytes"] for row in report["traffic"])
            )
            # 2 layers x 2 steps x 256 tokens x top-4
            self.assertEqual(sum(row["slots"] for row in report["routing"]), 4096)

    def test_a_run_beyond_the_memory_is_refused(self):
        # 3 x 43 layers x 256 experts x 4096 x 2048 x 4 bytes = 1.1 TB
        result = call("run", "model_name=deepseek4-284b", "layers=43", "tokens=16", "steps=1")
        self.assertEqual(result.returncode, 7, result.stderr)
        self.assertIn("GiB", result.stderr)
        # 1e9 steps of 256 tokens of 8 bytes, and the count of each layer and expert
        for words in (["steps=1000000000"], ["tokens=1073741824", "steps=1"]):
            result = call("run", *words)
            self.assertEqual(result.returncode, 7, result.stderr)
            self.assertIn("GiB", result.stderr)

    def test_equal_words_give_equal_bytes(self):
        words = ("run", "ranks=8", "hash_table=md5", "dtype=bfloat16", "-o", "json")
        self.assertEqual(call(*words).stdout, call(*words).stdout)

    def test_other_routers(self):
        small = ["base_emb_dim=32", "base_moe_mlp_dim=16", "vocab_size=300", "layers=2", "ranks=4"]
        for model in [
            "mixtral-8x7b",
            "gpt-oss-20b",
            "qwen3-30b-a3b",
            "deepseek3-671b",
            "llama4-17b-16e",
            "deepseek4-284b",
        ]:
            result = call("run", f"model_name={model}", *small)
            self.assertEqual(result.returncode, 0, model + result.stderr + result.stdout)

    def test_files_are_written_as_documented(self):
        with tempfile.TemporaryDirectory() as folder:
            trace, traffic = f"{folder}/trace.jsonl", f"{folder}/traffic.jsonl"
            text = pathlib.Path(folder, "text")
            text.write_text("the quick brown fox jumps over the lazy dog " * 4, encoding="utf-8")
            result = call(
                "run",
                "ranks=2",
                "tokens=64",
                f"text_file={text}",
                f"routing_trace={trace}",
                f"traffic={traffic}",
            )
            self.assertEqual(result.returncode, 0, result.stderr)
            head, *rows = lines_of(trace)
            self.assertEqual(head["schema"], "routing-trace/1")
            self.assertEqual((head["ranks"], head["tokens_per_rank"]), (2, 32))
            self.assertEqual(set(rows[0]), {"layer", "step", "src", "expert", "slots"})
            head, *rows = lines_of(traffic)
            self.assertEqual((head["schema"], head["ranks"]), ("traffic/1", 2))
            self.assertEqual(
                set(rows[0]), {"layer", "step", "collective", "src", "dst", "bytes"}
            )

    def test_backward_moves_what_is_predicted_and_agrees_with_one_rank(self):
        returned = {
            "ragged_all_to_all": ("combine_back", "dispatch"),
            "batch_split": ("all_gather_x_again", "all_gather_x"),
        }
        for strategy in STRATEGIES:
            words = ["ranks=4", "num_hash_layers=0", f"strategy={strategy}", "-o", "json"]
            forward = json.loads(call("run", *words).stdout)
            result = call("run", *words, "backward=true")
            self.assertEqual(result.returncode, 0, result.stderr)
            both = json.loads(result.stdout)
            self.assertTrue(both["predicted_equals_moved"])
            self.assertTrue(both["single_rank"]["passed"])
            self.assertGreater(both["single_rank"]["max_abs_gradient_error"], 0)
            self.assertLess(both["single_rank"]["max_abs_gradient_error"], 1e-4)
            self.assertIsNone(forward["single_rank"]["max_abs_gradient_error"])

            def moved(report, name):
                return [
                    (row["step"], row["src"], row["dst"], row["bytes"])
                    for row in report["traffic"]
                    if row["collective"] == name
                ]

            # Gradients of results go where rows went; a second gather is as large as the first.
            back, there = returned.get(strategy, ("all_gather_dy", "all_gather_x"))
            self.assertEqual(moved(both, back), moved(forward, there))
            for name in {row["collective"] for row in forward["traffic"]}:
                self.assertEqual(moved(both, name), moved(forward, name))

    def test_bad_words_and_files_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            ids = pathlib.Path(folder, "ids")
            ids.write_text("1 2 3\n4 999999\n", encoding="utf-8")
            broken = pathlib.Path(folder, "broken")
            broken.write_bytes(b"abc\n\xff\xfe")
            letters = pathlib.Path(folder, "letters")
            letters.write_text("A B\nabc abc abc", encoding="utf-8")
            for words, part in [
                (["num_experts_per_tok=17"], "top_k 17"),
                (["ranks=3"], "tokens"),
                (["tokens=3", "ranks=2"], "multiple"),
                (["rank=3"], "did you mean ranks"),
                (["ranks"], "key=value"),
                (["ranks=2", "ranks=2"], "twice"),
                (["layers=0"], "between 1"),
                (["strategy=ring"], "ring_of_experts"),
                (["strategy=ring_of_experts"], "token ids are not gathered"),
                (["dtype=float16"], "bfloat16"),
                (["model_name=llama2-7b"], "no experts"),
                (["tokens=4", f"token_file={ids}"], "ids:2:3"),
                (["tokens=4", f"text_file={broken}"], "broken:2:1"),
                (["tokens=400", f"text_file={ids}"], "are needed"),
                (["hash_table=" + str(ids)], "ids:1:1"),
                (["token_law=zipf:x=1"], "token_law"),
                (["tokens=4", "vocab_size=90", f"text_file={letters}"], "letters:2:1"),
                (["n_routing_groups=4"], "DeepSeek-V3"),
                (["load_balance_loss_weight=-1"], "negative"),
                (["backward=true", "dtype=bfloat16"], "dtype=float32"),
                (["backward=true", "ranks=2", "tensor_ranks=2"], "tensor_ranks=1"),
            ]:
                result = call("run", *words)
                self.assertEqual((result.returncode, result.stdout), (5, ""), words)
                self.assertIn(part, result.stderr, words)


@unittest.skipUnless(shutil.which("mpirun"), "mpirun is not installed")
class Mpi(unittest.TestCase):
    def test_processes_do_what_threads_do(self):
        for ranks in (2, 4):
            for strategy in STRATEGIES:
                words = ["num_hash_layers=0", f"strategy={strategy}", "layers=2", "-o", "json"]
                threads = call("run", f"ranks={ranks}", *words)
                processes = mpirun(ranks, f"ranks={ranks}", *words)
                self.assertEqual(processes.returncode, 0, processes.stderr)
                self.assertEqual(processes.stdout, threads.stdout)
        hashed = mpirun(4, "hash_table=md5", "tensor_ranks=2", "-o", "json")
        self.assertEqual(hashed.returncode, 0, hashed.stderr)
        self.assertTrue(json.loads(hashed.stdout)["single_rank"]["passed"])

    def test_bad_words_are_reported_once(self):
        result = mpirun(2, "layers=0")
        self.assertEqual(result.returncode, 5)
        self.assertEqual(result.stderr.count("must lie between"), 1)

    @staticmethod
    def rank_of(launcher):
        children = pathlib.Path(f"/proc/{launcher}/task/{launcher}/children")
        for child in children.read_text(encoding="ascii").split():
            try:
                if "meshsim-moe" in pathlib.Path(f"/proc/{child}/comm").read_text("ascii"):
                    return int(child)
            except OSError:
                pass  # it has ended, or is about to become the program
        return None

    def test_a_rank_that_dies_ends_the_run(self):
        launcher = subprocess.Popen(
            ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", PROGRAM, "moe", "run"]
            + ["base_emb_dim=256", "layers=4", "steps=20000", "tokens=256", "token_law=uniform"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        victim = None
        until = time.monotonic() + 30
        while victim is None and time.monotonic() < until:
            time.sleep(0.2)
            victim = self.rank_of(launcher.pid)
        self.assertIsNotNone(victim, "no rank has started")
        time.sleep(1)
        os.kill(victim, signal.SIGKILL)
        _, errors = launcher.communicate(timeout=30)
        self.assertNotEqual(launcher.returncode, 0)
        self.assertIn("signal 9", errors)


class WithoutMpi(unittest.TestCase):
    def test_a_missing_plugin_matters_to_mpirun_only(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("meshsim", "meshsim-moe"):
                shutil.copy(pathlib.Path(PROGRAM).parent / name, folder)
            moved = [f"{folder}/meshsim", "moe", "run"]
            alone = subprocess.run(moved, capture_output=True, check=False)
            self.assertEqual(alone.returncode, 0)
            launched = subprocess.run(
                moved,
                capture_output=True,
                text=True,
                env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
                check=False,
            )
            self.assertEqual(launched.returncode, 6)
            self.assertIn("install OpenMPI", launched.stderr)
            os.remove(f"{folder}/meshsim-moe")
            gone = subprocess.run(moved, capture_output=True, text=True, check=False)
            self.assertEqual(gone.returncode, 6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = options.program
    unittest.main(argv=[__file__, *rest])
