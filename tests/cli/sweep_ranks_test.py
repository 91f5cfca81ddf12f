"""A sweep that mpirun starts on several ranks: the report of one."""

import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import command_line
from command_line import DATA, DONE, INTERRUPTED, INVALID, USAGE, CommandLine
from sweep_test import LONG

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np"]


@unittest.skipUnless(shutil.which("mpirun"), "mpirun is not installed")
class Ranks(CommandLine):
    def started(self, ranks, *words):
        # OpenMPI leaves allocations behind, which are not ours to find.
        return subprocess.Popen(
            [*MPIRUN, str(ranks), command_line.PROGRAM, *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})

    def mpirun(self, ranks, *words):
        process = self.started(ranks, *words)
        out, err = process.communicate(timeout=120)
        return command_line.Done(process.returncode, out, err)

    def setUp(self):
        super().setUp()
        self.space = self.file("space.yml", LONG)
        self.store = str(self.folder / "store.db")

    def test_bytes_do_not_depend_on_ranks(self):
        for form in ("table", "json", "csv"):
            words = ["sweep", self.space, "-o", form, *(["--refine", "2"] if form != "csv" else [])]
            one = self.run_words(words)
            self.assertEqual(one.code, DONE, one.err)
            for ranks, threads in ((2, 1), (2, 2), (3, 1)):
                many = self.mpirun(ranks, *words, "--threads", str(threads))
                self.assertEqual((many.code, many.out), (DONE, one.out), many.err)
        # Into a file, which rank 0 alone writes; and of a space that is built for a plan.
        target = str(self.folder / "report.csv")
        done = self.mpirun(2, "sweep", self.space, "-o", "csv", "--out", target)
        self.assertEqual((done.code, done.out), (DONE, ""), done.err)
        self.assertEqual(pathlib.Path(target).read_text(encoding="utf-8"),
                         self.run_words(["sweep", self.space, "-o", "csv"]).out)
        search = ["search", "model_name=llama3.1-8b", "compile_topology=v5p-16", "attention=flash",
                  "max_target_length=2048", "remat_policy=full"]
        self.assertEqual(self.mpirun(2, *search).out, self.run_words(search).out)

    def test_faults_are_said_once(self):
        missing = self.mpirun(2, "sweep", str(DATA / "sweep" / "flash.yml"), "--threads", "many")
        self.assertEqual(missing.code, USAGE)
        self.assertEqual(missing.err.count("is not a number"), 1)
        bad = self.mpirun(2, "sweep", self.file("bad.yml", "axes: {remat_policy: full}\n"))
        self.assertEqual((bad.code, bad.out), (INVALID, ""))
        self.assertEqual(bad.err.count("bad.yml:1"), 1)
        # Rank 0 alone has the store, and it alone can say that it is another's.
        self.assertEqual(self.run_words(["sweep", self.space, "--store", self.store]).code, DONE)
        other = self.mpirun(2, "sweep", str(DATA / "sweep" / "flash.yml"), "--store", self.store,
                            "--resume")
        self.assertEqual((other.code, other.out), (INVALID, ""))
        self.assertEqual(other.err.count("is the store of another sweep"), 1)

    @staticmethod
    def ranks_of(launcher):
        children = pathlib.Path(f"/proc/{launcher}/task/{launcher}/children")
        found = []
        for child in children.read_text(encoding="ascii").split():
            try:
                if pathlib.Path(f"/proc/{child}/comm").read_text("ascii").strip() == "meshsim":
                    found.append(int(child))
            except OSError:
                pass  # it has ended, or is about to become the program
        return found

    def begun(self):
        """A sweep on two ranks that has judged something, and its ranks."""
        # 3,072 plans: it does not end by itself while it is looked for.
        lengths = ", ".join(str(256 * i) for i in range(1, 25))
        self.space = self.file("long.yml", LONG.replace("1024, 2048, 3072, 4096", lengths))
        sweep = self.started(2, "sweep", self.space, "-o", "jsonl", "--threads", "1", "--progress",
                             "json", "--store", self.store)
        sweep.stderr.readline()
        ranks = self.ranks_of(sweep.pid)
        self.assertEqual(len(ranks), 2)
        return sweep, ranks

    def resumed(self):
        whole = self.run_words(["sweep", self.space, "-o", "jsonl"])
        words = ["sweep", self.space, "-o", "jsonl", "--store", self.store, "--resume"]
        for ranks in (2, 1):
            done = self.mpirun(ranks, *words)
            self.assertEqual((done.code, done.out), (DONE, whole.out), done.err)

    def test_a_rank_that_dies_ends_the_run_and_what_was_found_stays(self):
        for which in (0, 1):
            pathlib.Path(self.store).unlink(missing_ok=True)
            sweep, ranks = self.begun()
            os.kill(sorted(ranks)[which], signal.SIGKILL)
            out, err = sweep.communicate(timeout=60)
            self.assertNotEqual(sweep.returncode, 0)
            self.assertEqual(out, "")
            self.assertIn("signal 9", err)
        self.resumed()

    def test_an_interrupt_of_any_rank_stops_all(self):
        for which in (0, 1):
            pathlib.Path(self.store).unlink(missing_ok=True)
            sweep, ranks = self.begun()
            os.kill(sorted(ranks)[which], signal.SIGINT)
            out, err = sweep.communicate(timeout=60)
            self.assertEqual((sweep.returncode, out), (INTERRUPTED, ""), err)
            self.assertIn("--resume", err)
        self.resumed()
