"""Where reports go, and what is left when they cannot get there."""

import os
import pathlib
import subprocess
import unittest

import command_line
from command_line import DONE, FLASH, IO, CommandLine

MODEL = ["model", "deepseek4-284b", "-o", "json"]


class OutFile(CommandLine):
    def test_a_report_replaces_the_old_one_whole(self):
        target = pathlib.Path(self.file("report.json", "x" * 10_000_000))
        done = self.meshsim(*MODEL, "--out", str(target))
        self.assertEqual((done.code, done.out, done.err), (DONE, "", ""))
        self.assertEqual(target.read_text(), self.meshsim(*MODEL).out)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["report.json"])

    def test_a_link_is_kept(self):
        target = pathlib.Path(self.file("kept/report.json", "old"))
        link = self.folder / "latest.json"
        link.symlink_to(target)
        self.assertEqual(self.meshsim(*MODEL, "--out", str(link)).code, DONE)
        self.assertTrue(link.is_symlink())
        self.assertTrue(target.read_text().startswith("{"))

    def test_permissions_are_those_of_a_new_file(self):
        target = self.folder / "report.json"
        self.meshsim(*MODEL, "--out", str(target))
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(target.stat().st_mode & 0o777, 0o666 & ~mask)

    def cannot_write(self, target):
        done = self.meshsim(*MODEL, "--out", str(target))
        self.assertEqual((done.code, done.out), (IO, ""), done.err)
        self.assertIn(f"{target}: error: cannot be ", done.err)

    def test_full_disk(self):
        self.cannot_write("/dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([command_line.PROGRAM, *MODEL], stdout=full, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, IO)
        self.assertIn(b"<stdout>: error: cannot be written: No space left on device", done.stderr)

    def test_full_file_system(self):
        mount = self.folder / "small"
        mount.mkdir()
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(mount)],
                               capture_output=True, check=False)
        if tried.returncode != 0:
            raise unittest.SkipTest("a tmpfs cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", str(mount)], check=True)
        (mount / "report.json").write_text("the old report")
        self.cannot_write(mount / "report.json")
        self.assertEqual((mount / "report.json").read_text(), "the old report")
        self.assertEqual([path.name for path in mount.iterdir()], ["report.json"])

    def test_places_that_cannot_be_written(self):
        self.cannot_write(self.folder)
        self.cannot_write(self.folder / "no" / "such" / "folder.json")
        self.cannot_write("/proc/meshsim.json")
        locked = self.folder / "locked"
        locked.mkdir()
        (locked / "report.json").write_text("the old report")
        locked.chmod(0o555)
        if not os.access(locked, os.W_OK):  # root writes there all the same
            self.cannot_write(locked / "report.json")
        self.assertEqual((locked / "report.json").read_text(), "the old report")

    def test_a_pipe_is_written_in_place(self):
        read, write = os.pipe()
        with os.fdopen(read) as pipe:
            subprocess.Popen([command_line.PROGRAM, "schema", "model"], stdout=write).wait(60)
            os.close(write)
            self.assertTrue(pipe.read().startswith("{"))


class Reader(CommandLine):
    def test_a_reader_that_goes_away_is_no_error(self):
        # The report is larger than a pipe holds.
        for words in (["config", "--all", "-o", "json"], ["fit", *FLASH, "-o", "json"]):
            process = subprocess.Popen([command_line.PROGRAM, *words], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
            process.stdout.read(10)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            process.stderr.close()
            self.assertEqual(process.wait(60), DONE)


class Terminal(CommandLine):
    """Names with escape sequences reach a terminal as text."""

    def test_escapes_in_values(self):
        plan = self.file("plan.yml", 'run_name: "\\e]0;owned\\a\\e[2J"\nmodel_name: llama3.1-8b\n')
        table = self.meshsim("config", plan)
        self.assertEqual(table.code, DONE)
        self.assertIn(r"\x1b]0;owned\x07\x1b[2J", table.out)
        self.assertNotIn("\x1b", table.out)
        report = self.report("config", plan, "-o", "json")
        self.assertEqual(report["resolved"]["run_name"]["value"], "\x1b]0;owned\x07\x1b[2J")
        self.assertNotIn("\x1b", self.meshsim("config", plan, "-o", "json").out)

    def test_escapes_in_messages(self):
        escape = "\x1b[31m\u202e"
        for words in ([f"{escape}x"], ["fit", f"{escape}=1"], ["fit", f"run_name={escape}"],
                      ["fit", "compile_topology=v5p-8", escape], ["model", escape],
                      ["topology", escape], ["fit", f"{escape}.yml"], ["schema", escape],
                      ["fit", f"--{escape}"], ["fit", "-o", escape], ["fit", "--slice-shape", escape]):
            done = self.meshsim(*words)
            self.assertNotEqual(done.code, DONE)
            self.assertNotIn("\x1b", done.err)
            self.assertNotIn("\u202e", done.err)
        bad = self.file("plan.yml", '"\\e[31mx": 1\n')
        self.assertNotIn("\x1b", self.refused(["fit", bad], r"plan.yml:1:1: error: \x1b[31mx: "))

    def test_no_colour_without_a_terminal(self):
        for words in (["topology", "v5p-512"], ["fit", *FLASH], ["model", "llama3.1-8b"], ["--help"]):
            self.assertNotIn("\x1b", self.meshsim(*words).out)
