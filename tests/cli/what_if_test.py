"""A plan and its neighbours side by side, and the fixes of a plan that does not fit."""

import json
import pathlib
import shlex

from command_line import DONE, FLASH, INVALID, NEGATIVE, USAGE, CommandLine

ROOT = pathlib.Path(__file__).resolve().parents[2]


class WhatIf(CommandLine):
    def test_the_plan_comes_first_and_neighbours_in_their_order(self):
        done = self.run_words(["what-if", *FLASH, "--vary", "remat_policy=none,full",
                               "--vary", "wi_tile_fwd_batch_seq=128", "-o", "json"])
        self.assertEqual(done.code, DONE, done.err)
        plans = done.json()["plans"]
        self.assertEqual([plan["change"] for plan in plans],
                         ["", "remat_policy=none", "remat_policy=full", "wi_tile_fwd_batch_seq=128"])
        itself, _, same, tiles = plans
        # `full` is the default: the same plan under another command.
        for field in ("verdict", "step_time_ps", "peak_bytes", "time"):
            self.assertEqual(itself[field], same[field])
        # 96 rows for each expert fill a tile of 128 better than one of 512.
        self.assertLess(tiles["step_time_ps"], itself["step_time_ps"])
        for plan in plans:
            self.assertEqual(sum(part["ps"] for part in plan["time"]), plan["step_time_ps"])

    def test_each_neighbour_is_what_simulate_says_of_its_command(self):
        done = self.run_words(["what-if", *FLASH, "--vary", "per_device_batch_size=2", "-o", "json"])
        for plan in done.json()["plans"]:
            words = shlex.split(plan["command"])
            self.assertEqual(words[0], "meshsim")
            alone = self.run_words([*words[1:], "-o", "json"]).json()
            for field in ("verdict", "step_time_ps", "peak_bytes"):
                self.assertEqual(plan[field], alone[field])

    def test_a_refused_neighbour_stays_with_its_reason(self):
        done = self.run_words(["what-if", *FLASH, "--vary", "attention=flash", "-o", "json"])
        self.assertEqual(done.code, DONE, done.err)
        refused = done.json()["plans"][1]
        self.assertEqual(refused["verdict"], "refused")
        self.assertIn("v4-attention", refused["reason"])
        self.assertIsNone(refused["step_time_ps"])
        self.assertIn("refused", self.run_words(["what-if", *FLASH, "--vary", "attention=flash"]).out)

    def test_bad_words(self):
        self.assertEqual(self.run_words(["what-if", *FLASH]).code, USAGE)
        for vary in ("remat_policy", "=a", "remat_policy="):
            done = self.run_words(["what-if", *FLASH, "--vary", vary])
            self.assertEqual((done.code, done.out), (INVALID, ""))
            self.assertIn("is not key=a,b,c", done.err)
        # The plan itself must stand.
        done = self.run_words(["what-if", *FLASH, "bogus=1", "--vary", "remat_policy=full"])
        self.assertEqual((done.code, done.out), (INVALID, ""))


class Sensitivity(CommandLine):
    def tornado(self, *words):
        report = self.report("what-if", *words, "--sensitivity", "-o", "json")
        return report, {one["name"]: one for one in report["sensitivity"]}

    def test_ranked_by_effect_and_what_to_measure_by_uncertainty(self):
        report, found = self.tornado(*FLASH)
        step = report["plans"][0]["step_time_ps"]
        effects = [one["effect_ps"] for one in report["sensitivity"]]
        self.assertEqual(effects, sorted(effects, reverse=True))
        for one in report["sensitivity"]:
            times = (one["step_time_less_ps"], step, one["step_time_more_ps"])
            self.assertEqual(one["effect_ps"], max(times) - min(times))
            if one["low"] is not None:
                self.assertLessEqual(one["low"], one["value"])
                self.assertLessEqual(one["value"], one["high"])
        self.assertEqual(report["measure_next"], [
            name for name, one in sorted(found.items(), key=lambda item: -(item[1]["uncertainty_ps"] or 0))
            if one["uncertainty_ps"]])

    def test_a_number_changed_is_the_plan_under_another_calibration(self):
        _, found = self.tornado(*FLASH)
        calibration = json.loads((ROOT / "topologies" / "calibration.json").read_text())
        for constant in calibration["constants"]:
            if constant["name"] == "grouped_matmul":
                constant["value"] = constant["low"]
        path = self.file("low.json", json.dumps(calibration))
        other = self.report("simulate", *FLASH, "--calibration", path, "-o", "json")
        self.assertEqual(other["step_time_ps"], found["grouped_matmul"]["step_time_low_ps"])

    def test_what_a_step_does_not_use_has_no_effect(self):
        dense = ["model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=2",
                 "attention=flash", "use_tokamax_splash=true"]
        _, found = self.tornado(*dense)
        unused = {"grouped_matmul", "row_gather", "scatter_add", "sort_step", "dcn_bandwidth",
                  "pcie_bandwidth", "offloaded_transfer"}
        for name, one in found.items():
            if name in unused:
                self.assertEqual((name, one["effect_ps"]), (name, 0))
            else:
                self.assertGreater(one["effect_ps"], 0, name)
        _, found = self.tornado(*dense, "remat_policy=minimal_offloaded")
        self.assertGreater(found["pcie_bandwidth"]["effect_ps"], 0)


class Fixes(CommandLine):
    def test_each_fix_saves_what_it_says(self):
        too_large = [*FLASH, "sparse_matmul=false"]
        done = self.run_words(["fit", *too_large, "-o", "json"])
        self.assertEqual(done.code, NEGATIVE, done.err)
        report = done.json()
        self.assertGreater(len(report["fixes"]), 1)
        for fix in report["fixes"]:
            words = shlex.split(fix["command"])
            fixed = self.run_words([*words[1:], "-o", "json"])
            self.assertEqual(fixed.code, DONE if fix["fits"] else NEGATIVE, fixed.err)
            self.assertEqual(report["peak_bytes"] - fixed.json()["peak_bytes"], fix["bytes_saved"])
            self.assertEqual(fixed.json()["step_time_ps"], fix["step_time_ps"])
        # Those that fit come first, the fastest of them first of all.
        fits = [fix["fits"] for fix in report["fixes"]]
        self.assertEqual(fits, sorted(fits, reverse=True))
        self.assertTrue(fits[0])

    def test_a_plan_that_fits_needs_none(self):
        self.assertEqual(self.run_words(["fit", *FLASH, "-o", "json"]).json()["fixes"], [])
