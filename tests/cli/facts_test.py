"""The figures that the commands `model` and `topology` must give, through their JSON."""

import json

from command_line import DATA, INVALID, CommandLine


def data(name):
    return json.loads((DATA / name).read_text())


class Models(CommandLine):
    def model(self, name, *words):
        return self.report("model", name, *words, "-o", "json")

    def test_deepseek_v4(self):
        flash = self.model("deepseek4-284b")
        self.assertEqual(flash["trainable_params"], 284_333_639_255)
        self.assertEqual(flash["official_params"], 284_332_230_231)
        self.assertEqual(flash["active_params"], 13_271_500_375)
        pro = self.model("deepseek4-pro")
        self.assertEqual(pro["trainable_params"], 1_573_000_677_475)
        self.assertEqual(pro["official_params"], 1_572_997_179_491)
        self.assertEqual(pro["active_params"], 48_855_877_731)

    def test_every_model(self):
        expected = data("model_parameters.json")["trainable_params"]
        names = self.report("model", "-o", "json")["models"]
        self.assertLessEqual(set(expected), set(names))
        for name, params in expected.items():
            self.assertEqual(self.model(name)["trainable_params"], params, name)

    def test_every_tensor(self):
        for name, file in (("deepseek4-284b", "v4_flash_tensors.json"),
                           ("deepseek4-pro", "v4_pro_tensors.json")):
            tensors = {tensor["name"]: tensor for tensor in self.model(name)["tensors"]}
            expected = data(file)
            self.assertEqual(set(tensors), {tensor["name"] for tensor in expected})
            for tensor in expected:
                found = tensors[tensor["name"]]
                self.assertEqual(found["shape"], tensor["shape"], tensor["name"])
                self.assertEqual(found["count"], tensor["num_layers"] * tensor["count_per_layer"])
                self.assertEqual(found["trainable"], tensor["trainable"])

    def test_flops(self):
        for name, file in (("deepseek4-284b", "v4_flash_flops.json"),
                           ("deepseek4-pro", "v4_pro_flops.json")):
            self.assert_flops(name, data(file))

    def assert_flops(self, name, expected):
        for length in ("4096", "1048576"):
            want = expected[length]
            report = self.model(name, f"max_target_length={length}")
            for kind in {row["layer_kind"] for row in report["flops_per_token"]}:
                ops = {row["op"]: row["flops"] for row in report["flops_per_token"]
                       if row["layer_kind"] == kind}
                with self.subTest(model=name, length=length, kind=kind):
                    self.assertEqual(ops, self.ops_of(kind, want))
                    if kind != "global":
                        self.assertEqual(sum(ops.values()), want["layer_total"][kind])
            self.assertEqual(report["forward_flops_per_token"], want["model_total"])
            self.assertEqual(report["train_flops_per_token"], want["train_per_token_no_remat"])

    @staticmethod
    def ops_of(kind, want):
        if kind == "global":
            return {"lm_head": want["lm_head"], "hc_head": want["hc_head"]}
        own = {op: flops for op, flops in want[kind].items() if not op.startswith("n_")}
        return {**want["proj"], "mhc": want["mhc_per_layer"], "router": want["router"],
                "routed": want["routed"], "shared": want["shared"], **own}


class Topologies(CommandLine):
    def test_a_slice(self):
        report = self.report("topology", "v5p-512", "-o", "json")
        self.assertEqual(report["chips"], 256)
        self.assertEqual(report["shape"], [4, 8, 8])
        self.assertEqual(report["wraparound"], [True, True, True])
        self.assertEqual(report["hosts"], 64)

    def test_every_published_assignment(self):
        for case in data("mesh_assignment.json")["cases"]:
            words = ["topology", "x".join(map(str, case["physical"])), "-o", "json",
                     "--logical", ",".join(map(str, case["logical"]))]
            if case["allow_split_physical_axes"]:
                words.append("--allow-split-physical-axes")
            with self.subTest(words):
                done = self.meshsim(*words)
                if case.get("refused"):
                    self.assertEqual((done.code, done.out), (INVALID, ""))
                    continue
                report = done.json()
                self.assertEqual(report["assignment"], case["assignment"])
                order = report["device_order"]
                self.assertEqual(order[: len(case["first_devices"])], case["first_devices"])
                checksum = sum((i + 1) * device for i, device in enumerate(order)) % 1_000_003
                self.assertEqual(checksum, case["device_order_checksum"])
