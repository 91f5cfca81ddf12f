#include <catch2/catch.hpp>

#include <map>

#include "model_specs/catalogue.hpp"
#include "model_specs/ops.hpp"
#include "model_specs/visibility.hpp"
#include "tests/golden.hpp"

namespace meshsim {
namespace {

using Flops = std::map<std::string, std::map<std::string, double>>;

double per_token(FlopCount flops, std::int64_t S) {
  return static_cast<double>(flops.value()) / static_cast<double>(S);
}

void check_flops(const std::string& model, const std::string& file, std::int64_t S) {
  const nlohmann::json expected = testing::golden(file).at(std::to_string(S));
  const ModelSpec spec = make_model_spec(find_model(model));
  const std::vector<OpGroup> groups = op_groups(spec, {S});
  const auto value = [&](const char* section, const char* key) {
    return expected.at(section).at(key).get<double>();
  };
  for (const OpGroup& group : groups) {
    double total = 0;
    std::map<std::string, double> flops;
    for (const Op& op : group.ops) total += flops[op.name] = per_token(op.forward.flops, S);
    INFO(model << " S=" << S << " " << group.layer_kind);
    if (group.layer_kind == "global") {
      CHECK(flops.at("lm_head") == expected.at("lm_head").get<double>());
      CHECK(flops.at("hc_head") == expected.at("hc_head").get<double>());
      continue;
    }
    for (const char* name : {"q_a", "q_b", "kv", "o_a", "o_b"}) {
      CHECK(flops.at(name) == value("proj", name));
    }
    CHECK(flops.at("mhc") == expected.at("mhc_per_layer").get<double>());
    for (const char* name : {"router", "routed", "shared"}) {
      CHECK(flops.at(name) == expected.at(name).get<double>());
    }
    for (const auto& [name, count] : expected.at(group.layer_kind).items()) {
      if (name.starts_with("n_")) continue;  // mean entries per query, not FLOPs
      CHECK(flops.at(name) == count.get<double>());
    }
    CHECK(total == value("layer_total", group.layer_kind.c_str()));
  }
  const ModelFlops all = model_flops(groups);
  CHECK(per_token(all.forward, S) == expected.at("model_total").get<double>());
  CHECK(per_token(all.train, S) == expected.at("train_per_token_no_remat").get<double>());
}

TEST_CASE("V4 FLOPs per token by layer kind and op equal the reference", "[model_specs]") {
  for (const std::int64_t S : {4096, 1'048'576}) {
    check_flops("deepseek4-284b", "v4_flash_flops.json", S);
    check_flops("deepseek4-pro", "v4_pro_flops.json", S);
  }
}

TEST_CASE("pair counts equal their definition", "[model_specs]") {
  // The definitions, one query at a time.
  const auto naive_visible = [](const Visibility& v, std::int64_t S) {
    std::int64_t pairs = 0;
    for (std::int64_t t = 0; t < S; ++t) {
      for (std::int64_t s = 0; s <= t; ++s) {
        const bool sees = v.kind == Visibility::Kind::full ||
                          (v.kind == Visibility::Kind::sliding && t - s < v.window) ||
                          (v.kind == Visibility::Kind::chunked && t / v.window == s / v.window);
        pairs += sees;
      }
    }
    return pairs;
  };
  const auto naive_compressed = [](std::int64_t r, std::int64_t limit, std::int64_t S) {
    std::int64_t pairs = 0;
    for (std::int64_t t = 0; t < S; ++t) {
      const std::int64_t entries = (t + 1) / r;
      pairs += limit < 0 ? entries : std::min(limit, entries);
    }
    return pairs;
  };
  for (std::int64_t S = 1; S <= 70; ++S) {
    for (const std::int64_t window : {1, 2, 7, 16, 64, 100}) {
      for (const auto kind :
           {Visibility::Kind::full, Visibility::Kind::sliding, Visibility::Kind::chunked}) {
        const Visibility v{kind, window};
        REQUIRE(visible_pairs(v, S) == naive_visible(v, S));
      }
    }
    for (const std::int64_t ratio : {1, 4, 9}) {
      for (const std::int64_t limit : {-1, 1, 2, 5, 100}) {
        REQUIRE(compressed_pairs(ratio, limit, S) == naive_compressed(ratio, limit, S));
      }
    }
  }
}

TEST_CASE("a dense model trains at 6 FLOPs per weight and token, attention aside",
          "[model_specs]") {
  const ModelSpec spec = make_model_spec(find_model("llama2-7b"));
  const std::int64_t S = 2048;
  double weights = 0;
  double attention = 0;
  for (const OpGroup& group : op_groups(spec, {S})) {
    for (const Op& op : group.ops) {
      const double flops =
          per_token(op.forward.flops + op.backward.flops, S) * static_cast<double>(group.layers);
      (op.kind == OpKind::attention ? attention : weights) += flops;
    }
  }
  // 6,738,415,616 parameters less the input embedding (32000 x 4096) and 65 norms of 4096.
  const double matrices = 6'738'415'616.0 - 32000.0 * 4096 - 65 * 4096.0;
  CHECK(weights == 6 * matrices);
  // 3 passes x 2 matmuls x 2 FLOPs x 4096 channels x (S + 1) / 2 keys x 32 layers
  CHECK(attention == 3 * 4.0 * 4096 * (S + 1) / 2 * 32);
}

TEST_CASE("FLOPs that overflow are refused by name", "[model_specs]") {
  const ModelSpec spec = make_model_spec(find_model("llama2-7b"));
  CHECK_THROWS_WITH(op_groups(spec, {std::int64_t{1} << 50}), Catch::Contains("exceeds"));
}

}  // namespace
}  // namespace meshsim
