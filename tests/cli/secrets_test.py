"""Credentials are accepted, as MaxText accepts them, and shown nowhere."""

from command_line import DONE, FLASH, CommandLine

SECRET = "hf_s3cr3tT0ken"
ASSIGNMENT = f"hf_access_token={SECRET}"


class Secrets(CommandLine):
    def nowhere(self, *words, **options):
        done = self.meshsim(*words, **options)
        self.assertNotIn(SECRET, done.out)
        self.assertNotIn(SECRET, done.err)
        return done

    def test_reports(self):
        for command in ("config", "fit", "simulate"):
            for form in ("table", "json"):
                done = self.nowhere(command, *FLASH, ASSIGNMENT, "-o", form)
                self.assertEqual(done.code, DONE)
        self.nowhere("config", "--all", ASSIGNMENT)
        self.nowhere("model", "llama3.1-8b", ASSIGNMENT, "-o", "json")
        self.nowhere("config", self.file("plan.yml", f"hf_access_token: '{SECRET}'\n"), "-o", "json")
        self.nowhere("config", "-o", "json", environment={"M_HF_ACCESS_TOKEN": SECRET})

    def test_its_presence_is_told(self):
        resolved = self.report("config", ASSIGNMENT, "-o", "json")["resolved"]
        self.assertEqual(resolved["hf_access_token"]["value"], "<redacted>")
        self.assertEqual(resolved["hf_access_token"]["origin"], "command_line")
        without = self.report("config", "-o", "json")["resolved"]
        self.assertEqual(without["hf_access_token"]["value"], "")

    def test_the_hash_of_a_plan_does_not_give_it_away(self):
        def digest(*words):
            return self.report("fit", *FLASH, *words, "-o", "json")["provenance"]["config_sha256"]

        self.assertEqual(digest(ASSIGNMENT), digest())
        self.assertNotEqual(digest("steps=3"), digest())

    def test_errors(self):
        for words in (
            [ASSIGNMENT, ASSIGNMENT],
            [ASSIGNMENT, "stepz=1"],
            [f"hf_acess_token={SECRET}"],
            [f"hf_access_token=[{SECRET}"],
            [f"hf_access_token=[{SECRET}]"],
            [f"hf_access_token={{{SECRET}: 1}}"],
            [f"hf_access_token={SECRET}\x01"],
            [f"--hf_access_token={SECRET}"],
            [f"--hf-access-token={SECRET}"],
        ):
            self.assertNotEqual(self.nowhere("fit", *FLASH, *words).code, DONE)
        self.nowhere("fit", ASSIGNMENT, environment={"M_HF_ACCESS_TOKEN": SECRET})
        self.nowhere("fit", environment={"M_HF_TOKEN": SECRET})
        self.nowhere("fit", self.file("a.yml", f"hf_access_token: [{SECRET}]\n"))
        self.nowhere("fit", self.file("b.yml", f"hf_access_token: \"{SECRET}\n"))
        self.nowhere("fit", self.file("c.yml", f"hf_access_token: !secret {SECRET}\n"))
