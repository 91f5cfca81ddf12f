#include <catch2/catch.hpp>

#include "model_specs/catalogue.hpp"
#include "model_specs/totals.hpp"
#include "tests/golden.hpp"

namespace meshsim {
namespace {

TEST_CASE("trainable parameters of every model equal the published arithmetic", "[model_specs]") {
  const nlohmann::json expected = testing::golden("model_parameters.json").at("trainable_params");
  REQUIRE(expected.size() >= 38);
  for (const auto& [name, params] : expected.items()) {
    INFO(name);
    const ModelSpec spec = make_model_spec(find_model(name));
    CHECK(parameter_totals(spec).trainable == params.get<std::int64_t>());
  }
}

TEST_CASE("every model in the catalogue builds and names its source", "[model_specs]") {
  for (const std::string& name : model_names()) {
    INFO(name);
    const ModelSpec spec = make_model_spec(find_model(name));
    CHECK(spec.name == name);
    CHECK_FALSE(spec.source.empty());
    CHECK(parameter_totals(spec).active <= parameter_totals(spec).trainable);
  }
}

TEST_CASE("DeepSeek-V4 totals: published, official, active", "[model_specs]") {
  const ParameterTotals flash = parameter_totals(make_model_spec(find_model("deepseek4-284b")));
  // MaxText gives the input norm of each hyper-connection site a scale of 4 x 4096; the published
  // model does not: 43 layers x 2 sites x 16384 = 1,409,024.
  CHECK(flash.official == 284'332'230'231);
  CHECK(flash.trainable - flash.official == 43 * 2 * 16384);
  CHECK(flash.active == 13'271'500'375);
  // 43 layers x 256 experts x 3 matrices of 4096 x 2048
  CHECK(flash.routed == std::int64_t{43} * 256 * 3 * 4096 * 2048);
  // router biases of 40 top-k layers, hash tables of 3 hash layers
  CHECK(flash.buffers == 40 * 256 + 3 * 129280 * 6);

  const ParameterTotals pro = parameter_totals(make_model_spec(find_model("deepseek4-pro")));
  CHECK(pro.official == 1'572'997'179'491);
  CHECK(pro.active == 48'855'877'731);
}

TEST_CASE("the V4 multi-token-prediction block has the published size", "[model_specs]") {
  // MaxText's scales on the hyper-connection norms (2 x 16384) come on top of the published block.
  ModelSource source = find_model("deepseek4-284b");
  Node one;
  one.kind = Node::Kind::scalar;
  one.text = "1";
  source.maxtext.members.push_back({"mtp_num_layers", {}, one});
  const ParameterTotals with = parameter_totals(make_model_spec(source));
  const ParameterTotals without = parameter_totals(make_model_spec(find_model("deepseek4-284b")));
  CHECK(with.official - without.official == 6'610'048'635);
  CHECK(with.trainable - without.trainable == 6'610'048'635 + 2 * 16384);
}

void check_inventory(const std::string& model, const std::string& file) {
  const nlohmann::json expected = testing::golden(file);
  const std::vector<InventoryEntry> entries = inventory(make_model_spec(find_model(model)));
  CHECK(entries.size() == expected.size());
  for (const nlohmann::json& tensor : expected) {
    const auto name = tensor.at("name").get<std::string>();
    INFO(model << " " << name);
    const auto found =
        std::find_if(entries.begin(), entries.end(),
                     [&](const InventoryEntry& entry) { return entry.tensor.name == name; });
    REQUIRE(found != entries.end());
    CHECK(found->tensor.shape == tensor.at("shape").get<std::vector<std::int64_t>>());
    CHECK(found->count == tensor.at("num_layers").get<std::int64_t>() *
                              tensor.at("count_per_layer").get<std::int64_t>());
    CHECK(found->layer_kind == tensor.at("layer_kind").get<std::string>());
    CHECK(found->tensor.trainable == tensor.at("trainable").get<bool>());
    if (tensor.at("logical_axes").is_null()) continue;  // the source lists none
    std::vector<std::string> axes;
    for (const nlohmann::json& axis : tensor.at("logical_axes")) {
      axes.push_back(axis.is_null() ? "" : axis.get<std::string>());
    }
    CHECK(found->tensor.axes == axes);
  }
}

TEST_CASE("the V4 tensor inventories equal the reference, tensor by tensor", "[model_specs]") {
  check_inventory("deepseek4-284b", "v4_flash_tensors.json");
  check_inventory("deepseek4-pro", "v4_pro_tensors.json");
}

TEST_CASE("every logical axis list is as long as its shape, in every layout", "[model_specs]") {
  for (const std::string& name : model_names()) {
    const ModelSpec spec = make_model_spec(find_model(name));
    for (const bool scan : {true, false}) {
      // Pro's 61 layers pair up after its prefix; every model must be scannable as MaxText scans
      // it.
      const ScanLayout layout = scan_layout(spec, scan);
      std::int64_t trainable = 0;
      for (const StoredTensor& stored : stored_tensors(spec, layout, 1)) {
        INFO(name << " " << stored.tensor.name);
        CHECK(stored.tensor.axes.size() == stored.tensor.shape.size());
        if (stored.tensor.trainable) trainable += stored.tensor.elements();
      }
      // Conservation: stacking moves parameters, it makes and loses none.
      CHECK(trainable == parameter_totals(spec).trainable);
    }
  }
}

TEST_CASE("V4 scans pairs after its hash layers", "[model_specs]") {
  const ModelSpec spec = make_model_spec(find_model("deepseek4-284b"));
  const ScanLayout layout = scan_layout(spec, true);
  REQUIRE(layout.segments.size() == 4);
  CHECK(layout.segments[2].name == "layers_2");
  const Segment& pairs = layout.segments[3];
  CHECK(pairs.scanned);
  CHECK((pairs.first == 3 && pairs.block == 2 && pairs.repeats == 20));
  CHECK(attention_tag(spec.layer(pairs.first)) == "hca");
  CHECK(attention_tag(spec.layer(pairs.first + 1)) == "csa");
  CHECK(scan_layout(spec, false).segments.size() == 43);
}

}  // namespace
}  // namespace meshsim
