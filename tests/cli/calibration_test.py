"""--calibration: other constants, other times, and the hash that says so."""

import hashlib
import json
import pathlib

from command_line import DONE, INVALID, IO, USAGE, CommandLine

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "topologies" / "calibration.json"
PLAN = ["model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=1",
        "max_target_length=2048", "attention=dot_product"]


def with_constant(name, value):
    calibration = json.loads(BUILTIN.read_text())
    for one in calibration["constants"]:
        if one["name"] == name:
            one.update(value=value, low=value, high=value)
    return json.dumps(calibration)


class Calibration(CommandLine):
    def report(self, *words):
        done = self.run_words([*words, "-o", "json"])
        self.assertEqual((done.code, done.err), (DONE, ""))
        return done.json()

    def test_a_slower_chip_takes_longer(self):
        slow = self.file("slow.json", with_constant("matmul", 0.3))
        for command, steps in (("simulate", lambda r: [r["step_time_ps"]]),
                               ("fit", lambda r: [r["step_time_ps"]]),
                               ("what-if", lambda r: [p["step_time_ps"] for p in r["plans"]])):
            words = [command, *PLAN]
            if command == "what-if":
                words += ["--vary", "max_target_length=1024"]
            with self.subTest(command):
                builtin = self.report(*words)
                other = self.report(*words, "--calibration", slow)
                for before, after in zip(steps(builtin), steps(other)):
                    self.assertGreater(after, 1.5 * before)
                for report, path in ((builtin, BUILTIN), (other, pathlib.Path(slow))):
                    self.assertEqual(report["provenance"]["calibration_sha256"],
                                     hashlib.sha256(path.read_bytes()).hexdigest())

    def test_the_builtin_file_changes_nothing(self):
        builtin = self.report("simulate", *PLAN)
        stated = self.report("simulate", *PLAN, "--calibration", str(BUILTIN))
        self.assertEqual(builtin["time"], stated["time"])
        self.assertEqual(builtin["provenance"]["calibration_sha256"],
                         stated["provenance"]["calibration_sha256"])

    def test_a_plan_file_names_its_calibration_beside_it(self):
        slow = self.file("slow.json", with_constant("matmul", 0.3))
        plan = self.file("plan.yml", "meshsim:\n  calibration: slow.json\n")
        named = self.report("simulate", plan, *PLAN)
        self.assertEqual(named["time"],
                         self.report("simulate", *PLAN, "--calibration", slow)["time"])
        self.assertEqual(named["resolved"]["meshsim.calibration"]["value"], "slow.json")

    def test_validate_takes_one(self):
        slow = self.file("slow.json", with_constant("matmul", 0.3))
        before = self.report("validate")
        after = self.report("validate", "--calibration", slow)
        longer = [now["predicted_step_time_s"] > then["predicted_step_time_s"]
                  for now, then in zip(after["rows"], before["rows"])
                  if then["predicted_step_time_s"] is not None and then["kind"] == "train_step"]
        self.assertTrue(longer and all(longer))
        self.assertIn("--calibration", after["rows"][0]["command"])
        self.assertNotEqual(before["provenance"]["calibration_sha256"],
                            after["provenance"]["calibration_sha256"])

    def test_files_that_are_none(self):
        for text, code in (("{}", INVALID), ("", INVALID), (with_constant("ici", 2), INVALID)):
            with self.subTest(text[:20]):
                path = self.file("bad.json", text)
                done = self.run_words(["simulate", *PLAN, "--calibration", path])
                self.assertEqual((done.code, done.out), (code, ""))
                self.assertIn("bad.json", done.err)
        missing = self.run_words(["simulate", *PLAN, "--calibration", "nowhere.json"])
        self.assertEqual(missing.code, IO)
        self.assertEqual(self.run_words(["fit", *PLAN, "--calibration", ""]).code, USAGE)
