"""Numbers, names and plans that must be refused, each with a message that helps."""

import shlex

from command_line import FLASH, USAGE, CommandLine


class Numbers(CommandLine):
    def refused_key(self, assignment, *messages):
        """On the command line, in the environment and in a file alike."""
        key, _, value = assignment.partition("=")
        others = [word for word in FLASH if not word.startswith(key + "=")]
        self.refused(["fit", *others, assignment], f"error: {key}: ", *messages)
        self.refused(["fit", *others], f"<environment> M_{key.upper()}: error: {key}: ", *messages,
                     environment={f"M_{key.upper()}": value})
        self.refused(["fit", self.file("plan.yml", f"\n{key}: {value}\n"), *others],
                     f"plan.yml:2:{len(key) + 3}: error: {key}: ", *messages)

    def test_integers_are_never_rounded(self):
        for value in ("9007199254740993", "9223372036854775808", "18446744073709551616"):
            self.refused_key(f"max_target_length={value}", f"is beyond +-2^53 (got '{value}')")
        for value in ("1e400", "-0", "0x10", "010", "1_000", "4096.0", "+1"):
            self.refused_key(f"max_target_length={value}",
                             f"is not an integer (got '{value}', want decimal digits)")

    def test_integers_of_json(self):
        for value in ("9007199254740993", "18446744073709551616", "1e400", "-0", "1.9", "true"):
            text = '{"model_type": "mixtral",\n "hidden_size": %s}' % value
            self.refused(["model", "--hf", self.file("config.json", text)], "config.json:2:17: error: ")

    def test_reals(self):
        self.refused_key("per_device_batch_size=1e400", "is out of range (got '1e400')")
        self.refused_key("per_device_batch_size=.nan", "is not a number (got '.nan')")
        self.refused_key("per_device_batch_size=inf", "is not a number (got 'inf')")
        self.refused_key("per_device_batch_size=-0.0", "must not be negative zero")

    def test_signs(self):
        self.refused_key("per_device_batch_size=0", "must be above 0 (got 0)")
        self.refused_key("per_device_batch_size=-1", "must be above 0 (got -1)")
        self.refused_key("max_target_length=0", "must be at least 1 (got 0)")
        self.refused_key("sharding_tolerance=-0.5", "must be at least 0 (got -0.5)")
        self.refused_key("capacity_factor=-2", "must be at least -1 (got -2)")
        self.refused_key("ici_fsdp_parallelism=0", "must not be 0 (got 0, want -1 or a positive")
        self.refused_key("ici_fsdp_parallelism=-2", "must be at least -1 (got -2)")

    def test_minus_one_is_legal_where_maxtext_says_so(self):
        self.report("config", "ici_fsdp_parallelism=-1", "capacity_factor=-1",
                    "compile_topology_num_slices=-1", "-o", "json")

    def test_products_that_overflow_are_named(self):
        words = ["fit", "model_name=llama3.1-8b", "compile_topology=v5p-512",
                 "per_device_batch_size=1048576", "max_target_length=134217728",
                 "gradient_accumulation_steps=1048576"]
        self.refused(words, " x 134217728 exceeds +-9223372036854775807")
        self.refused(["model", "deepseek4-284b", "max_target_length=134217728"], "FLOPs = ", " exceeds ")
        self.refused(["model", "llama3.1-8b", "override_model_config=true", "base_emb_dim=2147483648",
                      "base_mlp_dim=2147483648", "base_num_decoder_layers=10000"], " exceeds ")

    def test_topology_numbers(self):
        for words in ("4x8x8 --slices 0", "4x8x8 --slices -1", "4x8x8 --slices 010", "4x0x8", "4x",
                      "4x8x8x8x8", "4x8x8 --logical 1,,8", "4x8x8 --logical 0,256",
                      "4x8x8 --logical 1.5,256", "99999999999x4x4"):
            with self.subTest(words):
                self.refused(["topology", *words.split()])


class Plans(CommandLine):
    def refused_flash(self, more, *messages):
        self.refused(["fit", *FLASH, *shlex.split(more)], *messages)

    def test_mesh(self):
        self.refused_flash("ici_fsdp_parallelism=16 ici_expert_parallelism=8",
                           "ici_fsdp_parallelism: the product of the ici degrees is 128",
                           "not the 256 devices of a slice", "hint: ici_fsdp_parallelism=32 gives 256")
        self.refused_flash("ici_expert_parallelism=-1", "ici_fsdp_parallelism is -1 as well")
        self.refused_flash("ici_expert_parallelism=3", "do not divide the 256 devices", "nearest 2 or 4")
        self.refused_flash("compile_topology_num_slices=4 dcn_data_parallelism=2",
                           "not the 4 slices", "hint: dcn_data_parallelism=4 gives 4")
        self.refused_flash("dcn_data_parallelism=2", "there is one slice",
                           "hint: compile_topology_num_slices=2")
        self.refused_flash("ici_sequence_parallelism=2", "no mesh axis carries it")

    def test_what_does_not_divide(self):
        llama = ["fit", "model_name=llama3.1-8b", "compile_topology=v5p-64", "per_device_batch_size=1",
                 "allow_split_physical_axes=true"]
        # heads: 8 over 16
        self.refused([*llama, "ici_tensor_parallelism=16"], "ici_tensor_parallelism: tensor = 16 does "
                     "not divide dimension 2 of decoder/layers/self_attention/key/kernel", "at most 8")
        # experts: 8 over 16
        self.refused(["fit", "model_name=mixtral-8x7b", *llama[2:], "ici_expert_parallelism=16"],
                     "ici_expert_parallelism: expert = 16 does not divide dimension 0", "at most 8")
        # layers: 32 over 64 stages
        self.refused(["fit", "model_name=llama3.1-8b", "compile_topology=v5p-128",
                      "per_device_batch_size=1", "ici_pipeline_parallelism=64"],
                     "64 stages of 1 layers, 1 times, are not the 32 layers", "a pipeline degree that divides 32: at most 32")
        # the batch: 16 sequences over 32 devices
        self.refused([*llama[:3], "per_device_batch_size=0.5"], "per_device_batch_size: 16 sequences are "
                     "split over fsdp = 32 devices")
        # the sequence: 2047 tokens over 4
        self.refused([*llama, "ici_context_parallelism=4", "max_target_length=2047"],
                     "max_target_length=2047 is not divisible by 8")

    def test_unknown_machines(self):
        self.refused_flash_topology("v5p-500", "did you mean v5p-512 or v5p-")
        self.refused_flash_topology("v5-512", "did you mean ")
        self.refused_flash_topology("V5P-512", "did you mean ")
        self.refused_flash_topology("", "is missing: on which machine?")
        self.refused(["topology", "v5p-500"], "did you mean v5p-512 or v5p-")
        for shape in ("4x8", "4x8x8"):  # a free shape is legal
            self.report("topology", shape, "-o", "json")
        self.refused(["fit", *FLASH, "--slice-shape", "4x8x9"], "4x8x9 has 288 chips, but v5p-512 has 256")

    def refused_flash_topology(self, name, *messages):
        words = [word for word in FLASH if not word.startswith("compile_topology=")]
        self.refused(["fit", *words, f"compile_topology={name}"], "error: compile_topology: ", *messages)

    def test_extremes_of_routing(self):
        override = "override_model_config=true"
        self.refused_flash(f"{override} num_experts=0", "num_experts: must be at least 1 (got 0)")
        self.refused_flash(f"{override} num_experts_per_tok=257",
                           "num_experts_per_tok: a token cannot choose 257 of 256 experts",
                           "hint: at most num_experts=256")
        for legal in ("num_experts_per_tok=256", "num_experts_per_tok=1"):
            self.report("fit", *FLASH, override, legal, "-o", "json")
        self.report("fit", *FLASH, "--hash-table", "zeros", "-o", "json")  # all tokens to one expert

    def test_names_that_are_paths_or_options(self):
        for name in ("../../x", "/etc/passwd", "x" * 300, "a b", "x;rm", "..", ".hidden", "$HOME", ""):
            with self.subTest(name):
                self.refused(["fit", *FLASH[1:], f"model_name={name}"], "model_name: ")
                self.refused(["topology", name or " "])
        self.refused(["model", "../../x"], "'../../x' is not a model name")
        self.assertIn("'-rf' is not a model name", self.meshsim("model", "--", "-rf").err)
        self.refused(["fit", "-rf"], "'-rf' is not an option", code=USAGE)
        self.refused(["fit", *FLASH[1:], "model_name=-rf"], "'-rf' is not a model name")
        err = self.refused(["model", "x" * 300], "...' is not a model name")
        self.assertLess(len(err), 400)

    def test_a_near_model_name(self):
        self.refused(["fit", *FLASH[1:], "model_name=deepseek4-283b"],
                     "<command line>:5: error: model_name: no model is called 'deepseek4-283b'",
                     "did you mean deepseek4-284b")

    def test_two_models(self):
        hf = self.file("config.json", "{}")
        self.refused(["fit", "--hf", hf, *FLASH], "model_name: and --hf both name a model")
