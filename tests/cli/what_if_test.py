"""A plan and its neighbours side by side, and the fixes of a plan that does not fit."""

import shlex

from command_line import DONE, FLASH, INVALID, NEGATIVE, USAGE, CommandLine


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
