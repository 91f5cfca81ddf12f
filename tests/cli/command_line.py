"""Running meshsim the way a user does, and looking at everything it leaves behind."""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import tempfile
import unittest

PROGRAM = ""  # set by run.py
DATA = pathlib.Path(__file__).resolve().parent.parent / "data"

# Exit codes of the contract.
DONE, USAGE, NEGATIVE, INVALID, IO, RESOURCE, INTERRUPTED = 0, 2, 3, 5, 6, 7, 130

# DeepSeek-V4-Flash on 256 chips: a plan that every machine-bound command accepts.
FLASH = "model_name=deepseek4-284b compile_topology=v5p-512 attention=dot_product " \
        "per_device_batch_size=1 max_target_length=4096".split()


@dataclasses.dataclass
class Done:
    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


class CommandLine(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="meshsim ")  # a space in every path
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def run_words(self, words, environment=None, **options):
        """`environment` is added to a minimal one."""
        variables = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        variables.update(environment or {})
        options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            [PROGRAM, *words], cwd=self.folder, env=variables, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def meshsim(self, *words, **options):
        """One string is split as a shell would; several words are taken as they are."""
        if len(words) == 1:
            words = shlex.split(words[0])
        return self.run_words(list(words), **options)

    def report(self, *words, **options):
        """The JSON of a command that must succeed."""
        done = self.meshsim(*words, **options)
        self.assertIn(done.code, (DONE, NEGATIVE), done.err)
        self.assertEqual(done.err, "")
        return done.json()

    def refused(self, words, *messages, code=INVALID, environment=None, **options):
        """The command ends with `code`, says `messages`, prints no data and changes no file."""
        target = pathlib.Path(self.file("report.json", "the old report"))
        before = sorted(self.folder.rglob("*"))
        for extra in ([], ["--out", str(target)]):
            done = self.run_words([*words, *extra], environment, **options)
            self.assertEqual(done.code, code, f"{words}\n{done.out}\n{done.err}")
            self.assertEqual(done.out, "")
            for message in messages:
                self.assertIn(message, done.err)
            self.assertIn("error: ", done.err)
        self.assertEqual(target.read_text(), "the old report")
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        return done.err
