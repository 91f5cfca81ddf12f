"""Equal inputs give equal bytes, whatever surrounds them."""

import os
import subprocess

import command_line
from command_line import DONE, FLASH, CommandLine

COMMANDS = (
    ["fit", *FLASH, "-o", "json"],
    ["simulate", *FLASH],
    ["config", *FLASH, "--all", "-o", "json"],
    ["model", "deepseek4-pro", "-o", "json"],
    ["model", "deepseek4-284b"],
    ["topology", "v5p-512", "--logical", "1,32,8", "-o", "json"],
    ["topology", "v6e-64"],
    ["schema", "plan"],
)


class SameBytes(CommandLine):
    def test_two_runs_in_any_surroundings(self):
        surroundings = (
            {},
            {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"},
            {"LC_ALL": "C"},
            {"LC_ALL": "nonsense"},
            {"TZ": "Pacific/Kiritimati"},
            {"HOME": "/nonexistent"},
            {"COLUMNS": "20", "TERM": "xterm-256color", "OMP_NUM_THREADS": "7"},
        )
        for words in COMMANDS:
            first = self.run_words(words)
            self.assertEqual((first.code, first.err), (DONE, ""))
            for environment in surroundings:
                with self.subTest(command=words[0], environment=environment):
                    self.assertEqual(self.run_words(words, environment), first)

    def test_without_any_environment_and_with_closed_standard_input(self):
        for words in COMMANDS:
            first = self.run_words(words)
            closed = subprocess.run([command_line.PROGRAM, *words], env={}, capture_output=True,
                                    check=False, preexec_fn=lambda: os.close(0))
            self.assertEqual(closed.returncode, DONE, closed.stderr)
            self.assertEqual(closed.stdout.decode(), first.out)

    def test_the_same_plan_however_it_is_told(self):
        words = [*FLASH, "ici_expert_parallelism=8", "weight_dtype=float32"]
        told = self.report("fit", *words, "-o", "json")
        keys = {word.split("=")[0]: word.split("=")[1] for word in words}
        environment = {f"M_{key.upper()}": value for key, value in keys.items()}
        in_environment = self.report("fit", "-o", "json", environment=environment)
        text = "".join(f"{key}: {value}\n" for key, value in keys.items())
        in_file = self.report("fit", self.file("plan.yml", text), "-o", "json")
        in_order = self.report("fit", *reversed(words), "-o", "json")
        for report in (told, in_environment, in_file, in_order):
            del report["resolved"]  # tells the origins
            report.pop("notes", None)
        self.assertEqual(in_order, told)
        self.assertEqual(in_environment, told)
        self.assertEqual(in_file, told)
