"""Help, exit codes, and command lines that cannot be parsed."""

from command_line import DONE, FLASH, INVALID, IO, NEGATIVE, USAGE, CommandLine

COMMANDS = (
    "fit", "simulate", "what-if", "validate", "calibrate", "collective", "config", "model", "topology", "moe", "schema",
)


class Help(CommandLine):
    def test_help_fits_a_screen_and_starts_with_examples(self):
        below = (["moe", "check"], ["moe", "run"])
        for words in ([], *([command] for command in COMMANDS), *below):
            with self.subTest(words):
                done = self.meshsim(*words, "--help")
                self.assertEqual((done.code, done.err), (DONE, ""))
                lines = done.out.splitlines()
                self.assertLess(len(lines), 40)
                example = next(i for i, line in enumerate(lines) if line.startswith("  meshsim "))
                usage = next(i for i, line in enumerate(lines) if line.startswith("Usage: meshsim"))
                self.assertLess(example, usage)

    def test_the_list_of_commands(self):
        out = self.meshsim("--help").out
        for command in COMMANDS:
            self.assertRegex(out, rf"(?m)^  {command} +\S")

    def test_version(self):
        done = self.meshsim("--version")
        self.assertEqual(done.code, DONE)
        self.assertRegex(done.out, r"^meshsim \d+\.\d+\.\d+\n$")


class ExitCodes(CommandLine):
    def usage(self, words, *messages):
        done = self.run_words(words)
        self.assertEqual((done.code, done.out), (USAGE, ""), done.err)
        for message in messages:
            self.assertIn(message, done.err)

    def test_usage(self):
        self.usage([], "a command is missing", "hint: meshsim --help")
        self.usage([""], "'' is not a command")
        self.usage(["topolgy"], "'topolgy' is not a command", "hint: did you mean topology?")
        self.usage(["--verson"], "'--verson' is not an option", "--version")
        self.usage(["fit", "--slice-shap", "4x4x4"], "'--slice-shap' is not an option",
                   "hint: did you mean --slice-shape")
        self.usage(["fit", "-x"], "'-x' is not an option", "hint: meshsim fit --help")
        self.usage(["fit", "--out"], "--out")
        self.usage(["fit", "--out", ""], "--out: must not be empty")
        self.usage(["fit", *FLASH, "-o", "yaml"], "-o yaml is not a form of this report", "table or json")
        self.usage(["fit", *FLASH, "-o", "json", "-o", "json"], "--output")
        self.usage(["schema"], "report is required")
        self.usage(["topology"], "topology is required")
        self.usage(["topology", "4x8x8", "--dcn", "1"], "--dcn needs --logical")
        self.usage(["topology", "4x8x8", "--allow-split-physical-axes"], "needs --logical")

    def test_fit_answers_by_its_exit_code(self):
        fits = self.meshsim("fit", *FLASH)
        self.assertEqual(fits.code, DONE, fits.err)
        self.assertRegex(fits.out, r"\nv5p-512: 256 chips \(512 TensorCores\), 4x8x8 torus, 64 hosts\n")
        self.assertRegex(fits.out, r"\nFITS: used \d")
        # 284e9 parameters x 12 B over 4 chips: 793 GiB each.
        small = [word.replace("v5p-512", "v5p-8") for word in FLASH] + ["weight_dtype=float32"]
        does_not = self.meshsim("fit", *small)
        self.assertEqual(does_not.code, NEGATIVE, does_not.err)
        self.assertRegex(does_not.out, r"\nDOES NOT FIT: used [0-9.]+ GiB of 95\.74 GiB hbm, exceeded by")
        self.assertEqual(self.meshsim("simulate", *small).code, DONE)

    def test_io(self):
        self.refused(["fit", "gone.yml"], "cannot be read", code=IO)

    def test_schema_names(self):
        done = self.meshsim("schema", "plam")
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("no report is called 'plam'\n  hint: did you mean plan", done.err)


class Flags(CommandLine):
    def test_flags_may_be_repeated_where_they_add_up(self):
        report = self.report("config", "--software", "stack=1", "--software", "dvfs_p_state=7",
                             "--allow", "v4-mtp,hash-scan", "--allow", "emb-chunks", "-o", "json")
        self.assertEqual(report["resolved"]["meshsim.software"]["value"], {"stack": 1, "dvfs_p_state": 7})
        self.assertEqual(report["resolved"]["meshsim.allow"]["value"], ["v4-mtp", "hash-scan", "emb-chunks"])

    def test_feature_names(self):
        self.refused(["fit", *FLASH, "--software", "stak=1"], "'stak' is not a known feature",
                     "did you mean stack?")
        for malformed in ("stack", "stack=", "=stack"):
            self.refused(["fit", *FLASH, "--software", malformed], f"'{malformed}' is not name=value")
        self.refused(["fit", *FLASH, "--software", b"stack=\xff"], "byte 0xff is not valid UTF-8")
        self.refused(["fit", *FLASH, "--software", "stack=1", "--software", "stack=2"], "is given twice")
        self.refused(["fit", *FLASH, "--allow", "v4-attention"], "is not a refusal that can be lifted")
