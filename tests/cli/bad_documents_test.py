"""Malformed, enormous and strange input files."""

import os

from command_line import FLASH, IO, CommandLine

GIB = 1 << 30


class Text(CommandLine):
    """Characters that no configuration holds."""

    def refused_plan(self, content, *messages):
        self.refused(["fit", self.file("plan.yml", content), *FLASH[1:]], *messages)

    def refused_hf(self, content, *messages):
        self.refused(["model", "--hf", self.file("config.json", content)], *messages)

    def test_malformed_yaml(self):
        self.refused_plan("steps: [1, 2\n", "plan.yml:2:1: error: is not valid YAML", "hint: ")
        self.refused_plan("steps: 1\n bad: 2\n", "plan.yml:2", "is not valid YAML")
        for quote in ("'", '"'):  # the next line would be swallowed
            self.refused_plan(f"run_name: {quote}x\nsteps: 1\n", "plan.yml:3", "is not valid YAML",
                              "hint: a quote is not closed")
        self.refused_plan("steps: 1\n---\nsteps: 2\n", "plan.yml:2", "more than one YAML document")
        self.refused_plan("a: &x {b: 1}\nc:\n  <<: *x\n", "plan.yml:3:3", "merge keys")
        self.refused_plan("run_name: !!python/object:os.system x\n", "plan.yml:1", "tag")

    def test_malformed_json(self):
        self.refused_hf('{"model_type": "llama", "hid', "config.json:1:28: error: is not valid JSON",
                        "hint: is the file truncated?")
        self.refused_hf('{"model_type": "llama",}', "config.json:1:24", "is not valid JSON")
        self.refused_hf("", "config.json:1:1: error: is not valid JSON")
        self.refused_hf("{'model_type': 'llama'}", "config.json:1:2", "is not valid JSON")
        self.refused_hf('{"model_type": NaN}', "config.json:1:16", "is not valid JSON")

    def test_byte_order_mark(self):
        self.refused_plan(b"\xef\xbb\xbfsteps: 1\n", "plan.yml:1:1: error: starts with a byte-order "
                          "mark", "hint: save the file as UTF-8 without BOM")
        self.refused_hf(b"\xef\xbb\xbf{}", "config.json:1:1: error: starts with a byte-order mark")

    def test_carriage_returns(self):
        self.refused_plan(b"run_name: x\r\nsteps: 1\r\n", "plan.yml:1:12: error: has carriage "
                          "returns (CRLF line ends)", "hint: convert with: sed")

    def test_tabs(self):
        self.refused_plan("meshsim:\n\thash_table: zeros\n", "plan.yml:2:1: error: a tab indents this "
                          "line", "hint: YAML is indented with spaces")

    def test_nul_and_control_characters(self):
        self.refused_plan(b"steps: 1\0\n", "plan.yml:1:9: error: contains a NUL character")
        self.refused_hf(b'{"a": "\x1b"}', "config.json:1:8: error: contains the control character 0x1b")

    def test_invalid_utf8(self):
        self.refused_plan(b"run_name: \xff\n", "plan.yml:1:11: error: byte 0xff is not valid UTF-8",
                          "hint: save the file as UTF-8")
        self.refused_plan(b"run_name: \xc0\xaf\n", "plan.yml:1:11: error: byte 0xc0")  # overlong
        self.refused_plan(b"run_name: \xed\xa0\x80\n", "plan.yml:1:11")  # half of a surrogate pair

    def test_nesting(self):
        self.refused_plan("mlp_activations: " + "[" * 100_000, "nested deeper than 64 levels")
        self.refused_plan("{a: " * 100_000, "nested deeper than 64 levels")
        self.refused_hf("[" * 100_000, "config.json:1:65: error: is nested deeper than 64 levels")
        self.refused_hf('{"a":' * 100_000, "nested deeper than 64 levels")

    def test_alias_bomb(self):
        # Nine levels of nine aliases: 9^9 = 387 million values.
        bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for below, here in zip("abcdefgh", "bcdefghi"):
            bomb += f"{here}: &{here} [{', '.join(['*' + below] * 9)}]\n"
        self.refused_plan(bomb, "plan.yml:", "has more than 200000 values when aliases are written out")
        self.refused_plan("run_name: &a [*a]\n", "plan.yml:1:15: error: an alias refers to the node "
                          "that contains it")

    def test_duplicate_keys_name_both_lines(self):
        self.refused_plan("steps: 1\nrun_name: x\nsteps: 2\n",
                          "plan.yml:3:1: error: the key 'steps' stands twice",
                          "hint: it first stands at line 1")
        self.refused_plan("meshsim:\n  routing: balanced\n  routing: balanced\n",
                          "plan.yml:3:3: error: the key 'routing' stands twice")
        self.refused_hf('{"model_type": "llama",\n "model_type": "llama"}',
                        "config.json:2:2: error: the key 'model_type' stands twice",
                        "hint: it first stands at line 1")


class Includes(CommandLine):
    def test_a_cycle_is_printed(self):
        a = self.file("a.yml", "base_config: b.yml\n")
        b = self.file("b.yml", "base_config: a.yml\n")
        self.refused(["fit", a], f"{b}:1:14: error: base_config: the files include each other",
                     f"hint: the chain is {a} -> {b} -> {a}")
        own = self.file("own.yml", "base_config: own.yml\n")
        self.refused(["config", own], f"hint: the chain is {own} -> {own}")

    def test_a_missing_base_prints_the_chain(self):
        b = self.file("b.yml", "run_name: x\nbase_config: gone.yml\n")
        a = self.file("a.yml", "base_config: b.yml\n")
        gone = str(self.folder / "gone.yml")
        self.refused(["fit", a], f"{b}:2:14: error: base_config: {gone} cannot be read",
                     f"hint: the chain is {a} -> {b} -> {gone}")

    def test_a_base_that_is_no_file(self):
        self.refused(["fit", self.file("a.yml", f"base_config: '{self.folder}'\n")],
                     "is a directory, not a file")
        self.refused(["fit", self.file("a.yml", "base_config: [b.yml]\n")],
                     "a.yml:1:14: error: base_config: must be the path of a file (got a list)")

    def test_a_missing_base_yml_stands_for_the_defaults(self):
        plan = self.file("a.yml", "base_config: base.yml\nsteps: 3\n")
        resolved = self.report("config", plan, "-o", "json")
        self.assertEqual(resolved["resolved"]["steps"]["value"], 3)
        self.assertIn("base.yml was not found", resolved["notes"][0])


class Files(CommandLine):
    def test_too_large(self):
        path = self.folder / "huge.yml"
        with open(path, "wb") as file:
            file.truncate(GIB)  # sparse
        self.refused(["fit", str(path)], "huge.yml: error: is larger than 16 MiB")
        self.refused(["model", "--hf", str(path)], "huge.yml: error: is larger than 16 MiB")

    def test_no_regular_file(self):
        fifo = self.folder / "fifo.yml"
        os.mkfifo(fifo)
        for path in (str(fifo), str(self.folder), "/dev/zero", "/dev/full"):
            kind = "is a directory" if path == str(self.folder) else "is not a regular file"
            self.refused(["fit", path], f"{path}: error: {kind}")
            self.refused(["model", "--hf", path], f"{path}: error: {kind}")

    def test_cannot_be_read(self):
        self.refused(["fit", "gone.yml"], "gone.yml: error: cannot be read", code=IO)
        self.refused(["model", "--hf", "gone.json"], "gone.json: error: cannot be read", code=IO)
        locked = self.file("locked.yml", "steps: 1\n")
        os.chmod(locked, 0)
        if not os.access(locked, os.R_OK):  # root reads it all the same
            self.refused(["fit", locked], "locked.yml: error: cannot be read", code=IO)

    def test_ten_megabytes_of_keys_end_quickly(self):
        keys = "".join(f"key{i}: 1\n" for i in range(90_000))
        message = self.refused(["fit", self.file("plan.yml", keys)], "key0: is not a MaxText key")
        self.assertIn("more errors are not shown", message)
        self.assertLess(len(message), 4000)

    def test_standard_input(self):
        plan = self.file("plan.yml", "model_name: llama3.1-8b\nsteps: 3\n")
        with open(plan, "rb") as stdin:
            report = self.report("config", "-", "-o", "json", stdin=stdin)
        self.assertEqual(report["model"], "llama3.1-8b")
        with open(self.file("plan.yml", "stepz: 3\n"), "rb") as stdin:
            done = self.meshsim("config", "-", stdin=stdin)
        self.assertIn("<stdin>:1:1: error: stepz: is not a MaxText key", done.err)
