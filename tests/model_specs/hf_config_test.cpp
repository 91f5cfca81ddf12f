// Hugging Face config.json files: the files under tests/data/hf say what the published ones say
// about shapes, with the other keys that stand beside these in practice.
#include "model_specs/hf_config.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "model_specs/catalogue.hpp"
#include "model_specs/totals.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using Catch::Contains;

namespace {

std::string text_of(const std::string& model) {
  std::ifstream file(std::string(MESHSIM_TEST_DATA) + "/hf/" + model + ".json");
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// `text` with its only `from` replaced.
std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(text.find(from, at + 1) == std::string::npos);
  return text.replace(at, from.size(), to);
}

ModelSpec spec_of(const std::string& text) {
  return make_model_spec(parse_hf_config({"config.json", text}));
}

std::string fault(const std::string& text) {
  const Error error = refusal([&] { spec_of(text); });
  CHECK(error.kind() == ErrorKind::invalid_input);
  return error.what();
}

const char* const models[] = {"deepseek4-284b", "deepseek3-671b",  "mixtral-8x7b", "llama3.1-8b",
                              "qwen3-30b-a3b",  "qwen3-235b-a22b", "gpt-oss-20b",  "gpt-oss-120b"};

}  // namespace

TEST_CASE("each family gives the parameters of the catalogue's model", "[hf]") {
  for (const char* name : models) {
    INFO(name);
    const ParameterTotals hf = parameter_totals(spec_of(text_of(name)));
    const ParameterTotals known = parameter_totals(make_model_spec(find_model(name)));
    CHECK(hf.trainable == known.trainable);
    CHECK(hf.active == known.active);
    CHECK(hf.routed == known.routed);
    CHECK(hf.buffers == known.buffers);
  }
}

TEST_CASE("each family gives the layers of the catalogue's model", "[hf]") {
  for (const char* name : models) {
    INFO(name);
    const ModelSpec hf = spec_of(text_of(name));
    const ModelSpec known = make_model_spec(find_model(name));
    REQUIRE(hf.num_layers() == known.num_layers());
    for (std::size_t i = 0; i < hf.num_layers(); ++i) {
      CHECK(attention_tag(hf.layer(i)) == attention_tag(known.layer(i)));
      CHECK(mlp_tag(hf.layer(i)) == mlp_tag(known.layer(i)));
    }
  }
}

TEST_CASE("null is 'not stated'", "[hf]") {
  // Llama's head_dim is null in its file: 4096 / 32 heads = 128.
  CHECK_THAT(text_of("llama3.1-8b"), Contains("\"head_dim\": null"));
  CHECK(spec_of(text_of("llama3.1-8b")).config.head_dim == 128);
  // No query compression in the small DeepSeek models.
  CHECK(spec_of(with(text_of("deepseek3-671b"), "\"q_lora_rank\": 1536", "\"q_lora_rank\": null"))
            .config.q_lora_rank == 0);
  CHECK_THAT(fault(with(text_of("llama3.1-8b"), "\"hidden_size\": 4096", "\"hidden_size\": null")),
             Contains("config.json:1:1: error: hidden_size: is missing"));
}

TEST_CASE("a window of Mixtral's is in every layer", "[hf]") {
  const ModelSpec spec = spec_of(
      with(text_of("mixtral-8x7b"), "\"sliding_window\": null", "\"sliding_window\": 4096"));
  CHECK(attention_tag(spec.layer(0)) == "sliding");
  CHECK(spec.layer(0).attention->visibility.window == 4096);
}

TEST_CASE("the decoder of a multimodal model stands in text_config", "[hf]") {
  const std::string nested = R"({"model_type": "sees_and_reads", "vision_config": {"depth": 2},
                                 "text_config": )" +
                             text_of("llama3.1-8b") + "}";
  CHECK(parameter_totals(spec_of(nested)).trainable == 8'030'261'248);
}

TEST_CASE("DeepSeek-V4's layers by ratio or by name", "[hf]") {
  const ModelSpec known = make_model_spec(find_model("deepseek4-284b"));
  const std::string text = text_of("deepseek4-284b");
  // The published list has a 44th entry, for the prediction block.
  CHECK(spec_of(text).config.compress_ratios.size() == 43);

  // 2 sliding, then 20 x (CSA, HCA), then a CSA.
  std::string types = R"("layer_types": ["sliding_attention", "sliding_attention")";
  std::string mlps = R"("mlp_layer_types": ["hash_moe", "hash_moe", "hash_moe")";
  for (int i = 0; i < 20; ++i) {
    types += R"(, "compressed_sparse_attention", "heavily_compressed_attention")";
    mlps += R"(, "moe", "moe")";
  }
  types += R"(, "compressed_sparse_attention"], )";
  mlps += "], ";
  const std::size_t start = text.find("\"compress_ratios\"");
  std::string named = text;
  named.replace(start, text.find(']', start) + 2 - start, types + mlps);
  const ModelSpec spec = spec_of(with(named, "\"num_hash_layers\": 3,", ""));
  CHECK(spec.config.compress_ratios == known.config.compress_ratios);
  CHECK(spec.config.first_num_hash_layers == 3);
  CHECK(parameter_totals(spec).trainable == 284'333'639'255);

  std::string without = text;
  without.replace(start, text.find(']', start) + 2 - start, "");
  CHECK_THAT(fault(without), Contains("compress_ratios: is missing"));
}

TEST_CASE("every missing key is told at once", "[hf]") {
  const Error error = refusal([] { spec_of(R"({"model_type": "mixtral", "hidden_size": 64})"); });
  CHECK(error.diagnostics().size() >= 7);
  CHECK_THAT(error.what(), Contains("num_hidden_layers: is missing") &&
                               Contains("num_local_experts: is missing") &&
                               Contains("vocab_size: is missing"));
}

TEST_CASE("a family that is not modelled names those that are", "[hf]") {
  CHECK_THAT(fault(R"({"model_type": "bert"})"),
             Contains("config.json:1:16: error: model_type: 'bert' is not a family that is "
                      "modelled\n  hint: one of llama, mixtral, qwen3_moe, gpt_oss, deepseek_v3, "
                      "deepseek_v4"));
  CHECK_THAT(fault("{}"), Contains("model_type: is missing"));
  CHECK_THAT(fault(R"({"model_type": 3})"), Contains("model_type: '3' is not a family"));
  CHECK_THAT(fault("[1]"), Contains("a config.json is an object (got a list)"));
}

TEST_CASE("wrong types are refused under the file's own keys", "[hf]") {
  const std::string llama = text_of("llama3.1-8b");
  const auto layers = [&](const std::string& value) {
    return fault(with(llama, "\"num_hidden_layers\": 32", "\"num_hidden_layers\": " + value));
  };
  CHECK_THAT(layers("\"32\""), Contains("error: num_hidden_layers: must be an integer (got '32')"));
  CHECK_THAT(layers("32.0"), Contains("must be an integer (got '32.0')"));
  CHECK_THAT(layers("true"), Contains("must be an integer (got 'true')"));
  CHECK_THAT(layers("[32]"), Contains("must be an integer (got a list)"));
  CHECK_THAT(layers("{}"), Contains("must be an integer (got a mapping)"));
  CHECK_THAT(layers("0"), Contains("must be at least 1 (got 0)"));
  CHECK_THAT(layers("-32"), Contains("must be at least 1 (got -32)"));
  CHECK_THAT(layers("18446744073709551616"), Contains("num_hidden_layers"));
  CHECK_THAT(fault(with(llama, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": 0")),
             Contains("tie_word_embeddings: must be true or false (got '0')"));
  CHECK_THAT(fault(with(text_of("deepseek4-284b"), "\"compress_ratios\": [\n    0,",
                        "\"compress_ratios\": [\n    \"0\",")),
             Contains("compress_ratios: must be a list of integers"));
}

TEST_CASE("what only one value of is modelled is refused otherwise", "[hf]") {
  CHECK_THAT(
      fault(with(text_of("qwen3-30b-a3b"), "\"mlp_only_layers\": []", "\"mlp_only_layers\": [0]")),
      Contains("mlp_only_layers: is not modelled"));
  CHECK_THAT(fault(with(text_of("qwen3-30b-a3b"), "\"use_sliding_window\": false",
                        "\"use_sliding_window\": true")),
             Contains("use_sliding_window: is not modelled"));
  CHECK_THAT(
      fault(with(text_of("deepseek3-671b"), "\"moe_layer_freq\": 1", "\"moe_layer_freq\": 2")),
      Contains("moe_layer_freq: is not modelled (got '2', want 1)"));
  CHECK_THAT(fault(with(text_of("gpt-oss-20b"), "\"layer_types\": [\n    \"sliding_attention\",",
                        "\"layer_types\": [\n    \"full_attention\",")),
             Contains("layer_types: layer 0 must be sliding_attention (got 'full_attention')"));
  CHECK_THAT(fault(with(text_of("llama3.1-8b"), "\"num_attention_heads\": 32",
                        "\"num_attention_heads\": 33")),
             Contains("num_attention_heads does not divide hidden_size"));
}

TEST_CASE("a file's name becomes a model's name safely", "[hf]") {
  CHECK(parse_hf_config({"/a b/config;rm.json", text_of("llama3.1-8b")}).name == "hf-config-rm");
  CHECK(parse_hf_config({"<stdin>", text_of("llama3.1-8b")}).name == "hf");
}
