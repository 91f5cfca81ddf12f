"""Reports read back: pages, tables, and the difference of two."""

import csv
import html.parser
import io
import json

import jsonschema

from command_line import DATA, DONE, FLASH, INVALID, IO, NEGATIVE, USAGE, CommandLine

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Page(html.parser.HTMLParser):
    """What a browser would see: tags, and text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


class Reports(CommandLine):
    def written(self, name, *words):
        done = self.run_words([*words, "-o", "json"])
        self.assertIn(done.code, (DONE, NEGATIVE), done.err)
        return self.file(name, done.out)

    def shown(self, *words):
        done = self.run_words(["report", *words])
        self.assertEqual(done.code, DONE, done.err)
        return done.out

    def test_a_table_as_csv_holds_the_figures_of_the_report(self):
        path = self.written("plan.json", "simulate", *FLASH)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        for section in ("time", "memory", "collectives"):
            rows = list(csv.DictReader(io.StringIO(self.shown(path, "-o", "csv", "--section", section))))
            self.assertEqual(rows, [{key: str(value) for key, value in row.items()}
                                    for row in report[section]])
        # Settings are rows as well: each under its key.
        rows = list(csv.DictReader(io.StringIO(self.shown(path, "-o", "csv", "--section", "resolved"))))
        self.assertEqual([row["key"] for row in rows], list(report["resolved"]))
        # Without a name: the table of a sweep is its plans.
        sweep = self.written("sweep.json", "sweep", str(DATA / "sweep" / "flash.yml"))
        rows = list(csv.DictReader(io.StringIO(self.shown(sweep, "-o", "csv"))))
        self.assertEqual([row["index"] for row in rows], [str(i) for i in range(16)])

    def test_several_reports_share_a_head(self):
        one = self.written("one.json", "simulate", *FLASH)
        two = self.written("two.json", "simulate", *FLASH, "remat_policy=minimal_with_context")
        rows = list(csv.DictReader(io.StringIO(self.shown(one, two, "-o", "csv", "--section", "time"))))
        self.assertEqual({row["file"] for row in rows}, {one, two})
        page = self.shown(one, two)
        self.assertIn(f"# plan ({one})", page)
        self.assertIn(f"# plan ({two})", page)

    def test_a_page_shows_every_fact_and_every_row(self):
        for words in (["simulate", *FLASH], ["explain", *FLASH], ["topology", "v5p-16"],
                      ["what-if", *FLASH, "--sensitivity"]):
            path = self.written("report.json", *words)
            with open(path, encoding="utf-8") as file:
                report = json.load(file)
            page = Page()
            page.feed(self.shown(path, "-o", "html"))
            markdown = self.shown(path)
            for key, value in report.items():
                if key == "$schema" or value == []:
                    continue
                self.assertIn(key, page.text)
                self.assertIn(key, markdown)
                if isinstance(value, list) and isinstance(value[0], dict):
                    self.assertIn(f"{key}: {len(value)} rows", page.text)
            self.assertFalse({"script", "link", "img", "iframe", "object"} & set(page.tags))
            policy = dict(page.attributes)["content"]
            self.assertIn("default-src 'none'", policy)

    def test_names_are_text_whatever_they_look_like(self):
        path = self.written("plan.json", "simulate", *FLASH)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        report["model"] = HOSTILE
        report["time"][0]["cause"] = "=cmd()"
        report["time"][1]["cause"] = "a|b\u001b[31m"
        report["assumptions"] = [HOSTILE, "'\"&"]
        path = self.file("hostile.json", json.dumps(report))
        page = Page()
        text = self.shown(path, "-o", "html")
        page.feed(text)
        self.assertNotIn("img", page.tags)
        self.assertNotIn("script", page.tags)
        self.assertIn(HOSTILE, page.text)
        self.assertIn("'\"&", page.text)
        for form in ("html", "md"):
            self.assertNotIn("\u001b", self.shown(path, "-o", form))
        self.assertNotIn("<img", self.shown(path))
        self.assertIn("a\\|b", self.shown(path))
        rows = list(csv.DictReader(io.StringIO(self.shown(path, "-o", "csv", "--section", "time"))))
        self.assertEqual(rows[0]["cause"], "'=cmd()")
        # On a terminal, in a message too.
        done = self.run_words(["diff", path, self.written("plan.json", "simulate", *FLASH)])
        self.assertNotIn("\u001b", done.out)

    def test_what_is_no_report_is_refused(self):
        whole = self.run_words(["simulate", *FLASH, "-o", "json"]).out
        newer = whole.replace("/schema/plan/1", "/schema/plan/2").replace('"1.0"', '"2.0"')
        cases = {
            "newer": (newer, "of format 2.0", "read it with meshsim"),
            "truncated": (whole[: len(whole) // 2], "not valid JSON", ""),
            "foreign": ('{"$schema": "https://json-schema.org/x/1"}', "no report of meshsim", "-o json"),
            "nameless": ("{}", "no report of meshsim", ""),
            "a list": ("[1, 2]", "no report of meshsim", ""),
            "unknown": ('{"$schema": "https://meshsim.dev/schema/plans/1", "format_version": "1.0"}',
                        "no report is called 'plans'", "plan"),
        }
        for name, (text, what, hint) in cases.items():
            path = self.file(name + ".json", text)
            for words in (["report", path], ["diff", path, path]):
                done = self.run_words(words)
                self.assertEqual((done.code, done.out), (INVALID, ""), name)
                self.assertIn(what, done.err)
                self.assertIn(hint, done.err)
        self.assertEqual(self.run_words(["report", "/nonexistent.json"]).code, IO)
        path = self.file("plan.json", whole)
        done = self.run_words(["report", path, "-o", "csv", "--section", "tme"])
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("time", done.err)
        for bad in ([], [path, "-o", "json"], [path, "--section", "time"]):
            self.assertEqual(self.run_words(["report", *bad]).code, USAGE, bad)


class Diff(Reports):
    def compared(self, *words):
        done = self.run_words(["diff", *words, "-o", "json"])
        self.assertIn(done.code, (DONE, NEGATIVE), done.err)
        return done

    def test_a_report_differs_from_itself_in_nothing(self):
        path = self.written("plan.json", "simulate", *FLASH)
        done = self.compared(path, path, "--fail-on", "any")
        self.assertEqual((done.code, done.json()["differences"]), (DONE, []))
        self.assertGreater(done.json()["equal_fields"], 1000)

    def test_each_difference_is_that_of_its_field(self):
        a = self.written("a.json", "simulate", *FLASH)
        b = self.written("b.json", "simulate", *FLASH, "ici_expert_parallelism=8")
        with open(a, encoding="utf-8") as left, open(b, encoding="utf-8") as right:
            before, after = json.load(left), json.load(right)
        compared = self.compared(a, b).json()
        for name in ("diff", "report"):
            schema = jsonschema.Draft202012Validator(self.report("schema", name))
            self.assertEqual([error.message for error in schema.iter_errors(compared)], [])
        found = {one["field"]: one for one in compared["differences"]}
        for field in ("step_time_ps", "peak_bytes", "mfu_ratio"):
            one = found[field]
            self.assertEqual((one["a"], one["b"]), (before[field], after[field]))
            self.assertAlmostEqual(one["change_ratio"], after[field] / before[field] - 1)
        self.assertEqual(found["xla.temp_bytes"]["b"], after["xla"]["temp_bytes"])
        # Rows by what they are, not by where they stand; those of one report alone are said to be.
        wastes = [part for report in (before, after) for part in report["time"]
                  if (part["layer_kind"], part["pass"], part["cause"]) ==
                  ("csa/moe", "forward", "tile_waste")]
        one = found["time[csa/moe forward tile_waste].ps"]
        self.assertEqual((one["a"], one["b"]), (wastes[0]["ps"], wastes[1]["ps"]))
        alone = found["time[csa/moe forward exposed:expert].ps"]
        self.assertEqual((alone["a"], alone["only_in"]), (None, "b"))
        self.assertEqual(found["resolved.ici_expert_parallelism.value"]["b"], 8)

    def test_limits_are_an_exit_code(self):
        a = self.written("a.json", "simulate", *FLASH)
        b = self.written("b.json", "simulate", *FLASH, "num_vocab_tiling=4")
        found = {one["field"]: one["change_ratio"] for one in self.compared(a, b).json()["differences"]}
        change = abs(found["step_time_ps"])
        for limit, code in ((f"step_time_ps={change * 1.01}", DONE),
                            (f"step_time_ps={change * 0.99}", NEGATIVE), ("step_time_ps", NEGATIVE),
                            ("verdict", DONE), ("any", NEGATIVE), ("resolved", NEGATIVE),
                            ("any=1e9", NEGATIVE), ("step_time", DONE)):
            done = self.compared(a, b, "--fail-on", limit)
            self.assertEqual(done.code, code, limit)
            self.assertEqual(bool(done.json()["failed"]), code == NEGATIVE)
        for bad in ("step_time_ps=x", "step_time_ps=-1", "=1"):
            self.assertEqual(self.run_words(["diff", a, b, "--fail-on", bad]).code, USAGE, bad)

    def test_kinds_do_not_mix(self):
        a = self.written("a.json", "simulate", *FLASH)
        b = self.written("b.json", "topology", "v5p-16")
        done = self.run_words(["diff", a, b])
        self.assertEqual((done.code, done.out), (INVALID, ""))
        self.assertIn("of kind topology", done.err)
