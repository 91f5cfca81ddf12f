"""Every JSON report against the shipped schema, by an independent validator."""

import copy

import jsonschema

from command_line import DATA, DONE, FLASH, CommandLine

REPORTS = {
    "plan": (
        ["fit", *FLASH],
        ["simulate", *FLASH],
        ["fit", *FLASH, "ici_expert_parallelism=8", "optimizer_memory_host_offload=true"],
        ["fit", *FLASH, "mtp_num_layers=1", "--allow", "v4-mtp"],
        ["fit", "model_name=llama3.1-8b", "compile_topology=v6e-256", "per_device_batch_size=1",
         "compile_topology_num_slices=2", "opt_type=muon"],
        ["fit", "model_name=mixtral-8x7b", "--slice-shape", "2x4x4", "--software", "stack=3"],
    ),
    "model": (
        ["model", "deepseek4-284b"],
        ["model", "llama3.1-8b"],
        ["model", "moe-block-h2048-e128"],
        ["model", "--hf", str(DATA / "hf" / "gpt-oss-20b.json")],
    ),
    "topology": (
        ["topology", "v5p-512"],
        ["topology", "4x8x8", "--logical", "1,32,8"],
        ["topology", "v5p-8", "--slices", "2", "--logical", "4,1", "--dcn", "1,2"],
        ["topology", "v6e-64"],
        ["topology", "v5e-16"],
    ),
    "config": (
        ["config"],
        ["config", "--resolved", "base.yml", *FLASH, "--allow", "v4-mtp"],
    ),
    "models": (["model"],),
    "explain": (["explain", *FLASH],),
    "what-if": (["what-if", *FLASH, "--vary", "remat_policy=full,none", "--vary", "attention=flash"],
                ["what-if", *FLASH, "--sensitivity", "--vary", "per_device_batch_size=2"]),
    "calibration": (["calibrate", "--runs", str(DATA / "runs" / "dense.json")],),
    "validate": (["validate"], ["validate", "--fidelity", "event"]),
    "sweep": (["sweep", str(DATA / "sweep" / "flash.yml")],
              ["sweep", str(DATA / "sweep" / "flash.yml"), "--refine", "2"]),
    "moe-check": (["moe", "check", str(DATA / "golden" / "routed_moe_v4_grad.json")],),
    "moe-run": (
        ["moe", "run", "compare_single_rank=false", "tokens=64", "layers=1", "steps=1"],
        ["moe", "run", "ranks=2", "tokens=64", "layers=2", "load_balance_loss_weight=0.01",
         "num_hash_layers=1"],
    ),
}


def shortened(value, key=""):
    """The same report with two items in each list and three plan keys: quick to validate."""
    if isinstance(value, dict):
        items = list(value.items())[: 3 if key == "resolved" else None]
        return {name: shortened(inner, name) for name, inner in items}
    if isinstance(value, list):
        return [shortened(inner) for inner in value[:2]]
    return value


def places(value, path=()):
    """Every object in a report whose fields the schema lists."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            # The values of plan keys are what they are.
            if key != "value":
                yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


class Schemas(CommandLine):
    def validator(self, name):
        schema = self.report("schema", name)
        jsonschema.Draft202012Validator.check_schema(schema)
        self.assertEqual(schema["$schema"], "https://json-schema.org/draft/2020-12/schema")
        return jsonschema.Draft202012Validator(schema)

    def test_every_report_is_valid(self):
        anything = self.validator("report")
        for name, commands in REPORTS.items():
            validator = self.validator(name)
            for words in commands:
                with self.subTest(words):
                    report = self.report(*words, "-o", "json")
                    self.assertEqual([error.message for error in validator.iter_errors(report)], [])
                    self.assertEqual([error.message for error in anything.iter_errors(report)], [])
                    self.assertEqual(report["$schema"], validator.schema["$id"])

    def test_unknown_and_missing_fields_are_invalid(self):
        for name, commands in REPORTS.items():
            validator = self.validator(name)
            report = shortened(self.report(*commands[-1], "-o", "json"))
            self.assertTrue(validator.is_valid(report))
            for path in places(report):
                changed = copy.deepcopy(report)
                target = changed
                for step in path:
                    target = target[step]
                target["zzz"] = 1
                self.assertFalse(validator.is_valid(changed), f"{name}: a field at {path}")
            for field in ("$schema", "format_version"):
                changed = {key: value for key, value in report.items() if key != field}
                self.assertFalse(validator.is_valid(changed), f"{name} without {field}")

    def test_a_newer_major_format_is_invalid(self):
        report = self.report("topology", "v5p-8", "-o", "json")
        report["format_version"] = "2.0"
        self.assertFalse(self.validator("topology").is_valid(report))

    def test_names_of_commands_name_their_reports(self):
        self.assertEqual(self.meshsim("schema", "fit"), self.meshsim("schema", "plan"))
        self.assertEqual(self.meshsim("schema", "simulate"), self.meshsim("schema", "plan"))
        self.assertEqual(self.meshsim("schema", "report").code, DONE)

    def test_bytes_are_integers_and_names_end_in_their_unit(self):
        def numbers(value, name=""):
            if isinstance(value, dict):
                for key, inner in value.items():
                    if key not in ("resolved", "constants"):
                        yield from numbers(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    yield from numbers(inner, name)
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                yield name, value

        for name, value in numbers(self.report("fit", *FLASH, "-o", "json")):
            if name.endswith("bytes") or name.endswith("_ps"):
                self.assertIsInstance(value, int, name)
