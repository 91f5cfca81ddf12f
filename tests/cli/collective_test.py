"""meshsim collective: times, flow files, matrices, and what must be refused."""

import json
import pathlib

import jsonschema

from command_line import DATA, DONE, USAGE, CommandLine

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "reports" / "schemas"
VALIDATOR = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "collective.json").read_text()))


class Collective(CommandLine):
    def collective(self, *words):
        report = self.report("collective", *words, "-o", "json")
        VALIDATOR.validate(report)
        return report

    def test_flat_all_to_all(self):
        # (n + 2) / 8 x 64 MiB / 90e9 B/s + 1 us; n / 8 with ties split.
        for shape, one_way, split in (("4x4x4", 560.241, 372.827), ("4x4x8", 933.068, 745.654),
                                      ("8x8x4", 933.068, 745.654)):
            words = ["--topology", shape, "--op", "all-to-all", "--bytes", "67108864",
                     "--link-bandwidth", "90e9", "--latency", "1us"]
            report = self.collective(*words)
            self.assertAlmostEqual(report["time_ps"] / 1e6, one_way, places=3)
            self.assertEqual(report["time_ps"], report["closed_form_ps"])
            report = self.collective(*words, "--ties", "split")
            self.assertAlmostEqual(report["time_ps"] / 1e6, split + 1, places=2)

    def test_flow_by_flow_is_as_loads_say(self):
        for shape, extra in (("4x4x4", []), ("4x8x8", ["--axes", "0,2"]),
                             ("2x2x4", []), ("4x4x4", ["--directions", "one"])):
            words = ["--topology", shape, "--op", "all-to-all", "--bytes", "64MiB", *extra]
            loads = self.collective(*words)
            flows = self.collective(*words, "--tolerance", "0")
            self.assertEqual((loads["way"], flows["way"]), ("loads", "flows"))
            self.assertAlmostEqual(flows["time_over_closed_form_ratio"], 1, places=6)
            self.assertEqual(flows["bottleneck"]["bytes"], loads["bottleneck"]["bytes"])

    def test_ring_all_gather(self):
        # (n - 1) / n x 64 MiB / (90e9 B/s x directions) + (n - 1) us
        for n, one, both in ((4, 562.241, 282.620), (8, 659.447, 333.224), (16, 714.051, 364.525)):
            words = ["--topology", f"{n}x4x4", "--axes", "0", "--op", "all-gather",
                     "--bytes", "64MiB"]
            self.assertAlmostEqual(
                self.collective(*words, "--directions", "one")["time_ps"] / 1e6, one, places=2)
            self.assertAlmostEqual(self.collective(*words)["time_ps"] / 1e6, both, places=2)

    def test_flow_files(self):
        for path in sorted((DATA / "flows").glob("*.json")):
            answers = json.loads(path.read_text())
            report = self.collective("--flows", str(path))
            self.assertEqual(report["way"], "flows")
            self.assertEqual(len(report["flows"]), len(answers["flows"]))
            for flow, answer in zip(report["flows"], answers["flows"]):
                self.assertEqual((flow["src"], flow["dst"], flow["bytes"]),
                                 (answer["src"], answer["dst"], answer["bytes"]))
                self.assertLess(abs(flow["finish_s"] / answer["finish_s"] - 1), 1e-6)
            self.assertLess(abs(report["makespan_s"] / answers["makespan_s"] - 1), 1e-6)

    def test_matrix(self):
        rows = [[0 if i == j else 1000 * (1 + j) for j in range(8)] for i in range(8)]
        csv = self.file("bytes.csv", "".join(",".join(map(str, row)) + "\n" for row in rows))
        document = self.file("bytes.json", json.dumps(rows))
        words = ["--topology", "8", "--wraparound", "all", "--op", "all-to-all", "--matrix"]
        loads = self.collective(*words, csv)
        self.assertEqual(loads["way"], "loads")
        self.assertEqual(self.collective(*words, document), loads)
        flows = self.collective(*words, csv, "--tolerance", "0")
        self.assertEqual(len(flows["flows"]), 56)
        self.assertEqual([link["bytes"] for link in flows["links"]],
                         [link["bytes"] for link in loads["links"]])
        self.assertGreaterEqual(flows["time_ps"] + 1, loads["time_ps"])

    def test_every_operation_and_option(self):
        for op in ("all-gather", "reduce-scatter", "all-reduce", "all-to-all",
                   "collective-permute", "broadcast"):
            for words in ("", "--axes 0,2", "--axes 1:4", "--axes 1:2:4,0", "--chunks 8",
                          "--slices 2", "--wraparound none", "--directions one"):
                report = self.collective("--topology", "v5p-512", "--op", op, "--bytes", "1MiB",
                                         *words.split())
                bound = 0.999999 if "chunks" not in words else 0.99
                self.assertGreaterEqual(report["time_over_closed_form_ratio"], bound)
                most = max(link["bytes"] for link in report["links"])
                self.assertEqual(report["bottleneck"]["bytes"], most)
                for link in report["links"]:
                    self.assertLessEqual(link["utilisation_ratio"], 1 + 1e-9)

    def test_collectives_of_a_flow_file(self):
        flows = [{"src": 0, "dst": 1, "bytes": 90000, "collective": "a"},
                 {"src": 0, "dst": 1, "bytes": 180000, "collective": "b"}]
        path = self.file("two.json", json.dumps(
            {"schema": "flow-crosscheck/1", "torus": [4], "link_bytes_per_s": 9e10,
             "flows": flows}))
        report = self.collective("--flows", path)
        self.assertEqual(report["time_ps"], 3_000_000)
        self.assertEqual(report["bottleneck"]["collectives"],
                         [{"name": "a", "bytes": 90000}, {"name": "b", "bytes": 180000}])

    def test_legal_shapes(self):
        self.assertEqual(self.collective("--topology", "8x8x4", "--op", "all-gather", "--bytes",
                                         "1")["wraparound"], [True] * 3)
        self.assertEqual(self.collective("--topology", "16x16x1", "--op", "all-gather", "--bytes",
                                         "1")["wraparound"], [False] * 3)

    def refused_collective(self, words, *messages, code=5):
        base = {"--topology": "4x4x4", "--op": "all-to-all", "--bytes": "1024"}
        base.update(words)
        flat = [word for pair in base.items() if pair[1] is not None for word in pair]
        self.refused(["collective", *flat], *messages, code=code)

    def test_refusals(self):
        for words, messages in (
                ({"--topology": "4x0x4"}, ("--topology",)),
                ({"--topology": "4xx4"}, ("--topology",)),
                ({"--topology": "-4x4x4"}, ("--topology",)),
                ({"--topology": "v5p-500"}, ("'v5p-500' is not a slice", "did you mean")),
                ({"--op": "all-to-al"}, ("'all-to-al' is not a collective", "all-to-all")),
                ({"--bytes": "-1"}, ("--bytes",)),
                ({"--bytes": "18446744073709551616"}, ("--bytes",)),
                ({"--bytes": "1.5"}, ("--bytes",)),
                ({"--bytes": "nan"}, ("--bytes",)),
                ({"--link-bandwidth": "0"}, ("--link-bandwidth", "above 0")),
                ({"--link-bandwidth": "-1"}, ("--link-bandwidth",)),
                ({"--link-bandwidth": "1e400"}, ("--link-bandwidth",)),
                ({"--latency": "-1"}, ("--latency",)),
                ({"--latency": "1 parsec"}, ("--latency",)),
                ({"--axes": "3"}, ("--axes", "3 is not an axis of 4x4x4 (0 to 2)")),
                ({"--axes": "0,0"}, ("--axes", "names axis 0 twice")),
                ({"--axes": "0:3"}, ("--axes", "do not divide")),
                ({"--axes": "0:2:4"}, ("--axes", "do not divide")),
                ({"--axes": "x"}, ("--axes",)),
                ({"--axes": "0:1"}, ("at least 2 chips",)),
                ({"--chunks": "0"}, ("--chunks",)),
                ({"--slices": "0"}, ("--slices",)),
                ({"--slices": "99999999"}, ("slices",)),
                ({"--directions": "left"}, ("--directions",)),
                ({"--ties": "both"}, ("--ties",)),
                ({"--wraparound": "some"}, ("--wraparound",)),
                ({"--wraparound": "none", "--directions": "one"}, ("is a line",)),
                ({"--topology": "1x1x1"}, ("at least 2 chips",)),
                ({"--bytes": "9007199254740992", "--link-bandwidth": "1"},
                 ("does not fit simulated time",)),
                ({"--tolerance": "-0.1"}, ("--tolerance",)),
                ({"--tolerance": "0.6"}, ("--tolerance",)),
                ({"--tolerance": "0", "--axes": "0:2"}, ("whole axes",))):
            self.refused_collective(words, "<command line>: error: ", *messages)
        self.refused_collective({"--op": None}, "--op is missing", code=USAGE)
        self.refused_collective({"--topology": None}, "--topology is missing", code=USAGE)
        self.refused_collective({"--bytes": None}, "--bytes", code=USAGE)

    def test_refused_files(self):
        row = ",".join(["1"] * 64) + "\n"
        for text, message in ((row * 63, "must have 64 rows"), (row * 65, "must have 64 rows"),
                              (row * 3 + "1,2\n", "bytes.csv:4:1: error: [3]: must have 64"),
                              (row + "-5" + row[1:], "bytes.csv:2:1: error: [1][0]"),
                              (row + "9" * 30 + row[1:], "bytes.csv:2:1: error: [1][0]")):
            path = self.file("bytes.csv", text)
            self.refused_collective({"--bytes": None, "--matrix": path}, message)
        broken = self.file("flows.json", json.dumps(
            {"schema": "flow-crosscheck/1", "torus": [4, 4, 4], "link_bytes_per_s": 9e10,
             "flows": [{"src": 0, "dst": 2, "bytes": 1, "links": [[0, 1], [5, 2]]}]}))
        self.refused(["collective", "--flows", broken], "flows.json:1:", "flows[0].links[1]",
                     "not connected")
        self.refused(["collective", "--flows", broken, "--op", "all-gather"], "--op", code=USAGE)
        self.refused(["collective", "--flows", str(self.folder / "none.json")], code=6)

    def test_a_flow_to_itself_is_free(self):
        path = self.file("flows.json", json.dumps(
            {"schema": "flow-crosscheck/1", "torus": [4], "link_bytes_per_s": 9e10,
             "latency_s": 1e-6, "flows": [{"src": 2, "dst": 2, "bytes": 1000000}]}))
        self.assertEqual(self.collective("--flows", path)["time_ps"], 0)

    def test_help_starts_with_examples(self):
        done = self.meshsim("collective --help")
        self.assertEqual(done.code, DONE)
        self.assertIn("meshsim collective --topology", done.out.splitlines()[2])
        self.assertLess(len(done.out.splitlines()), 40)

    def test_equal_inputs_give_equal_bytes(self):
        words = ["collective", "--flows", str(DATA / "flows" / "two-a2a-4x4x4.json"), "-o", "json"]
        self.assertEqual(self.meshsim(*words).out, self.meshsim(*words).out)
