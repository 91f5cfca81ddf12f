// Which source of a key wins, and which pairs of sources contradict each other.
#include <catch2/catch.hpp>

#include "tests/plans/plan_request.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

using namespace meshsim;
using namespace meshsim::testing;
using Catch::Contains;

namespace {

// What `request` gives `key`, as "value from origin".
std::string outcome(const PlanRequest& request, const std::string& key) {
  const Setting setting = resolve_config(request).at(key);
  return flow_text(setting.value) + " from " + std::string(name(setting.origin));
}

std::string config_fault(const PlanRequest& request) {
  const Error error = refusal([&] { resolve_config(request); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

}  // namespace

TEST_CASE("each source of a key overrules the ones below it", "[plans][precedence]") {
  const TemporaryFolder folder;
  PlanRequest r;
  CHECK(outcome(r, "max_target_length") == "2048 from default");
  CHECK(outcome(r, "head_dim") == "128 from default");

  folder.file("below.yml", "max_target_length: 512\nsteps: 5\nhead_dim: 32\n");
  r.config_file = folder.path("below.yml");
  CHECK(outcome(r, "max_target_length") == "512 from config_file");

  // The file that names a base_config overrules it, key by key.
  r.config_file = folder.file("plan.yml", "base_config: below.yml\nmax_target_length: 1024\n");
  CHECK(outcome(r, "max_target_length") == "1024 from config_file");
  CHECK(outcome(r, "steps") == "5 from config_file");
  CHECK(outcome(r, "head_dim") == "32 from config_file");

  r.assignments = {"model_name=deepseek4-284b"};
  CHECK(outcome(r, "head_dim") == "512 from model_file");

  r.environment = {{"M_MAX_TARGET_LENGTH", "4096"}};
  CHECK(outcome(r, "max_target_length") == "4096 from environment");

  r.assignments.emplace_back("steps=7");
  CHECK(outcome(r, "steps") == "7 from command_line");
}

TEST_CASE("the model may be named by any source", "[plans][precedence]") {
  const TemporaryFolder folder;
  PlanRequest r;
  r.config_file = folder.file("plan.yml", "model_name: llama3.1-8b\n");
  CHECK(resolve_config(r).model.name == "llama3.1-8b");
  r.environment = {{"M_MODEL_NAME", "mixtral-8x7b"}};
  CHECK(resolve_config(r).model.name == "mixtral-8x7b");
  r.environment.clear();
  r.assignments = {"model_name=gpt-oss-20b"};
  CHECK(resolve_config(r).model.name == "gpt-oss-20b");
}

TEST_CASE("the model's file against the command line or the environment", "[plans][precedence]") {
  const std::string from_command_line =
      config_fault(request({"model_name=deepseek4-284b", "head_dim=256"}));
  CHECK_THAT(from_command_line, Contains("<command line>:2: error: head_dim: is set by the file of "
                                         "model deepseek4-284b as well (to 512)") &&
                                    Contains("hint: override_model_config=true"));

  PlanRequest r = request({"model_name=deepseek4-284b"});
  r.environment = {{"M_HEAD_DIM", "256"}};
  CHECK_THAT(config_fault(r),
             Contains("<environment> M_HEAD_DIM: error: head_dim: is set by the file"));

  r.assignments.emplace_back("override_model_config=True");
  CHECK(outcome(r, "head_dim") == "256 from environment");
  CHECK(
      outcome(request({"model_name=deepseek4-284b", "head_dim=256", "override_model_config=true"}),
              "head_dim") == "256 from command_line");

  // A config file is below the model's file: no conflict, it loses.
  const TemporaryFolder folder;
  r = request({"model_name=deepseek4-284b"});
  r.config_file = folder.file("plan.yml", "head_dim: 256\n");
  CHECK(outcome(r, "head_dim") == "512 from model_file");
}

TEST_CASE("an override reaches the model", "[plans][precedence]") {
  const auto layers = [](Words words) {
    return make_model_request(request(std::move(words))).model.num_layers();
  };
  CHECK(layers({"model_name=llama3.1-8b"}) == 32);
  CHECK(layers({"model_name=llama3.1-8b", "override_model_config=true",
                "base_num_decoder_layers=2"}) == 2);
}

TEST_CASE("the command line against the environment is always an error", "[plans][precedence]") {
  PlanRequest r = request({"steps=2", "override_model_config=true"});
  r.environment = {{"M_STEPS", "2"}};
  CHECK_THAT(config_fault(r),
             Contains("<environment> M_STEPS: error: steps: is set by the environment "
                      "and by the command line"));
}

TEST_CASE("every fault of the command line and the environment is told at once",
          "[plans][precedence]") {
  PlanRequest r = request({"stepz=1", "max_target_length=010", "steps", "=1",
                           "dtype=", "gradient_accumulation_steps=0", "scan_layers=1"});
  r.environment = {{"M_STEPZ", "1"}, {"M_HF_IO", "x"}};
  const Error error = refusal([&] { resolve_config(r); });
  CHECK(error.diagnostics().size() == 9);
  const std::string text = error.what();
  CHECK_THAT(text, Contains("<command line>:1: error: stepz: is not a MaxText key\n"
                            "  hint: did you mean steps"));
  CHECK_THAT(text, Contains("<command line>:2: error: max_target_length: is not an integer (got "
                            "'010'"));
  CHECK_THAT(text, Contains("<command line>:3: error: 'steps' is not key=value"));
  CHECK_THAT(text, Contains("<command line>:4: error: '=1' is not key=value"));
  CHECK_THAT(text, Contains("<command line>:5: error: dtype: must be one of"));
  CHECK_THAT(text, Contains("<command line>:6: error: gradient_accumulation_steps: must be at "
                            "least 1 (got 0)"));
  CHECK_THAT(text, Contains("<command line>:7: error: scan_layers: is not a boolean (got '1'"));
  CHECK_THAT(text, Contains("<environment> M_STEPZ: error: is not the variable of a MaxText key\n"
                            "  hint: did you mean M_STEPS"));
  CHECK_THAT(text, Contains("<environment> M_HF_IO: error"));
}

TEST_CASE("every fault of a file is told at once, with its place", "[plans][precedence]") {
  const TemporaryFolder folder;
  PlanRequest r;
  r.config_file = folder.file("plan.yml",
                              "run_name: x\n"
                              "stepz: 1\n"
                              "max_target_length: 2048.5\n"
                              "meshsim:\n"
                              "  slice_shap: 4x4x4\n");
  const std::string text = config_fault(r);
  CHECK_THAT(text, Contains("plan.yml:2:1: error: stepz: is not a MaxText key"));
  CHECK_THAT(text, Contains("plan.yml:3:20: error: max_target_length: is not an integer (got "
                            "'2048.5'"));
  CHECK_THAT(text, Contains("plan.yml:5:3: error: meshsim.slice_shap: is not a known key\n"
                            "  hint: did you mean slice_shape?"));
}

TEST_CASE("an unknown key is met with the nearest three names", "[plans][precedence]") {
  CHECK_THAT(config_fault(request({"ici_fdsp_parallelism=4"})),
             Contains("did you mean ici_fsdp_parallelism, ") && Contains(" or "));
  CHECK_THAT(config_fault(request({"zzzzzzzzzzzzzzzzzzzzzz=4"})), !Contains("did you mean"));
}

TEST_CASE("a key stands once on the command line", "[plans][precedence]") {
  CHECK_THAT(config_fault(request({"steps=1", "steps=1"})),
             Contains("<command line>:2: error: steps: stands twice on the command line\n"
                      "  hint: it first stands at <command line>:1"));
}

TEST_CASE("values that are lists are read as flow YAML", "[plans][precedence]") {
  CHECK(outcome(request({"mlp_activations=[gelu, linear]"}), "mlp_activations") ==
        "[gelu, linear] from command_line");
  CHECK(outcome(request({"run_name='42'"}), "run_name") == "\"42\" from command_line");
  CHECK(outcome(request({"run_name=a=b"}), "run_name") == "a=b from command_line");
  CHECK_THAT(config_fault(request({"steps=1", "compress_ratios=[0, 4"})),
             Contains("<command line>:2: error: compress_ratios: is not valid YAML"));
  CHECK_THAT(
      config_fault(request({"compress_ratios=[0, 4.5]"})),
      Contains("<command line>:1: error: compress_ratios: must hold integers only (got '4.5'"));
  CHECK_THAT(config_fault(request({"run_name=a\x1b[2J"})),
             Contains("<command line>:1: error: run_name: contains the control character 0x1b"));
}

TEST_CASE("only the default of a fixed key is accepted", "[plans][precedence]") {
  CHECK(outcome(request({"hardware=tpu"}), "hardware") == "tpu from command_line");
  CHECK_THAT(config_fault(request({"hardware=gpu"})),
             Contains("hardware: is not modelled (got 'gpu', want 'tpu')\n"
                      "  hint: it would need other accelerators"));
  CHECK(outcome(request({"use_multimodal=False"}), "use_multimodal") == "False from command_line");
  CHECK(outcome(request({"quantization="}), "quantization") == " from command_line");
  CHECK(outcome(request({"quantization=None"}), "quantization") == "None from command_line");
}
