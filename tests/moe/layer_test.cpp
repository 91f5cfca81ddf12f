#include "moe/moe_layer.hpp"

#include <catch2/catch.hpp>

#include "moe/backward.hpp"
#include "moe/dense_matmul.hpp"
#include "moe/gemm.hpp"
#include "moe/permute.hpp"
#include "tests/moe/oracle.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

MoeConfig v4_config(const Dims& n, float limit) {
  MoeConfig config;
  config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
  config.embedding = n.embedding;
  config.width = n.width;
  config.swiglu_limit = limit;
  return config;
}

Dims random_dims(std::uint64_t seed) {
  const auto draw = [&](std::uint64_t i, std::int64_t bound) {
    return random_below(seed, i, bound);
  };
  Dims n{draw(1, 20), 1 + draw(2, 12), 1 + draw(3, 12), 1 + draw(4, 12), 0};
  n.top_k = seed % 5 == 0 ? n.experts : 1 + draw(5, n.experts);           // k = E among them
  if (seed % 6 == 0) n.tokens = static_cast<std::int64_t>(seed / 6 % 2);  // none or one token
  return n;
}

}  // namespace

TEST_CASE("the layer is its definition, on random shapes") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    const Dims n = random_dims(seed);
    MoeConfig config = v4_config(n, seed % 2 == 0 ? 0.4F : 10.0F);
    if (seed % 4 == 1) config.rule = gpt_oss_rule(n.experts, n.top_k);
    if (seed % 4 == 1) config.activation = Activation::gpt_oss;
    if (seed % 4 == 2) config.rule = llama4_rule(n.experts);
    MoeWeights<float> w = random_weights(100 * seed, n, seed % 3 == 0);
    const Tensor<float> bias = random_tensor(seed, {n.experts});
    if (config.rule.bias) w.bias.assign(bias.flat().begin(), bias.flat().end());
    const Tensor<float> x = random_tensor(seed + 9, {n.tokens, n.embedding});
    SingleRank rank;
    const MoeOutput<float> out = RoutedMoE<float>(config, w, 0)(x, {}, rank.grid());
    REQUIRE(out.y.shape() == x.shape());
    INFO("seed " << seed);
    REQUIRE(largest_difference(out.y, naive_layer(x, w, config)) < 2e-5);
    // In chunks of the embedding: the same sums, in another order.
    config.strategy = Strategy::embedding_chunks;
    config.num_moe_emb_chunks = n.embedding;
    const MoeOutput<float> chunked = RoutedMoE<float>(config, w, 0)(x, {}, rank.grid());
    REQUIRE(largest_difference(chunked.y, naive_layer(x, w, config)) < 2e-5);
  }
}

TEST_CASE("hash layers follow the table, and an expert that is named twice counts twice") {
  const Dims n{7, 5, 6, 4, 3};
  MoeConfig config = v4_config(n, 1);
  config.num_hash_layers = 1;
  const HashTable table{3, 3, {1, 1, 2, 0, 0, 0, 3, 2, 1}};
  const std::vector<std::int64_t> tokens{0, 1, 2, 2, 1, 0, 0};
  MoeWeights<float> w = random_weights(5, n, false);
  w.bias = {9, 9, 9, 9};  // which a hash layer does not have
  const Tensor<float> x = random_tensor(6, {7, 5});
  SingleRank rank;
  const MoeOutput<float> out = RoutedMoE<float>(config, w, 0, &table)(x, tokens, rank.grid());
  CHECK(largest_difference(out.y, naive_layer(x, w, config, tokens, &table)) < 2e-5);
  CHECK(out.bias_update.empty());
  CHECK(out.slots.at(0, 0) == 2 * 3);
  // The next layer is a top-k layer.
  CHECK(RoutedMoE<float>(config, w, 1)(x, tokens, rank.grid()).bias_update.size() == 4);
  CHECK(refusal([&] { RoutedMoE<float>(config, w, 0); }).kind() == ErrorKind::invalid_input);
  const std::vector<std::int64_t> outside{0, 1, 2, 2, 1, 0, 3};
  const RoutedMoE<float> layer(config, w, 0, &table);
  CHECK(refusal([&] { layer(x, outside, rank.grid()); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("the dense path with room for all equals the sparse one, but counts a repeat once") {
  const Dims n{8, 5, 6, 4, 2};
  const MoeConfig config = v4_config(n, 1);
  const MoeWeights<float> w = random_weights(5, n, true);
  const Tensor<float> x = random_tensor(6, {8, 5});
  const RouteOutput routed = route(x, {}, w, config, nullptr);
  for (const double factor : {-1.0, 4.0}) {
    const Tensor<float> y =
        dense_matmul(x, routed.choice, 4, w.experts, config.activation, 1, factor);
    CHECK(largest_difference(y, naive_layer(x, w, config)) < 2e-5);
  }
  Choice twice;
  twice.ids = {1, 1};
  twice.weights = Tensor<float>({1, 2}, 0.5F);
  const Tensor<float> one = random_tensor(8, {1, 5});
  Doubles expected(5);
  add_naive_expert(config, w.experts, 1, one.row(0), 0.5, expected);
  CHECK(largest_difference(dense_matmul(one, twice, 1, w.experts, config.activation, 1, -1),
                           {expected}) < 2e-5);
}

TEST_CASE("gradients are the differences of the definition") {
  const HashTable table{3, 3, {1, 1, 2, 0, 5, 4, 3, 2, 1}};  // one row repeats an expert
  const std::vector<std::int64_t> tokens{0, 1, 2, 0, 1};
  for (const auto& [limit, hash] : std::vector<std::pair<float, const HashTable*>>{
           {10.0F, nullptr}, {0.5F, nullptr}, {10.0F, &table}}) {
    const Dims n{5, 4, 6, 6, 3};
    const MoeConfig config = v4_config(n, limit);
    MoeWeights<float> w = random_weights(40, n, false);
    w.bias.assign(6, 0.0F);
    Tensor<float> x = random_tensor(41, {5, 4});
    const Tensor<float> dy = random_tensor(42, {5, 4});
    const MoeGradients gradients = routed_moe_gradients(x, tokens, dy, w, config, hash);
    const auto loss = [&] {
      double sum = 0;
      const auto y = naive_layer(x, w, config, tokens, hash);
      for (std::size_t t = 0; t < y.size(); ++t)
        for (std::size_t i = 0; i < y[t].size(); ++i)
          sum += y[t][i] * dy.row(static_cast<std::int64_t>(t))[i];
      return sum;
    };
    // A step of 2^-13 keeps the choice of every token here; the error of a central difference is
    // O(step^2), but for the kinks of the clamp, whose elements are few.
    const auto check = [&](Tensor<float>& parameter, const Tensor<float>& gradient) {
      int off = 0;
      for (std::int64_t i = 0; i < parameter.size(); ++i) {
        float& value = parameter.data()[i];
        const float before = value, step = 0x1p-13F;
        value = before + step;
        const double above = loss();
        const double high = value;
        value = before - step;
        const double slope = (above - loss()) / (high - value);
        value = before;
        if (std::abs(slope - gradient.data()[i]) > 2e-4 * std::max(1.0, std::abs(slope))) ++off;
      }
      CHECK(off <= (limit < 1 ? parameter.size() / 50 : 0));
    };
    check(x, gradients.dx);
    check(w.gate_kernel, gradients.d_gate_kernel);
    check(w.experts.w0, gradients.d_w0);
    check(w.experts.w1, gradients.d_w1);
    check(w.experts.wo, gradients.d_wo);
  }
}

TEST_CASE("rows fan out to the places that sorting gives them, and come back summed") {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const std::int64_t tokens = random_below(seed, 1, 30), d = 1 + random_below(seed, 2, 70);
    const std::int64_t k = 1 + random_below(seed, 3, 8), experts = 1 + random_below(seed, 4, 12);
    std::vector<ExpertId> ids;  // an expert may repeat within a token
    for (std::int64_t s = 0; s < tokens * k; ++s)
      ids.push_back(
          static_cast<ExpertId>(random_below(seed, static_cast<std::uint64_t>(10 + s), experts)));
    const RouteMetadata sorted = sort_slots(ids, experts);
    std::vector<Slot> inverse = inverse_of(sorted.order);
    const Tensor<float> x = random_tensor(seed, {tokens, d}), w = random_tensor(seed, {tokens, k});
    Tensor<float> gathered({tokens * k, d}, 0), fanned({tokens * k, d}, 0);
    gather_rows(x, sorted.order, k, gathered);
    fan_out_rows(x, inverse, k, fanned);
    REQUIRE(std::equal(gathered.flat().begin(), gathered.flat().end(), fanned.flat().begin()));
    for (std::size_t s = 0; s < inverse.size(); s += 3) inverse[s] = -1;  // dropped
    Tensor<float> y({tokens, d}), wide({tokens, d});
    Tensor<Bf16> narrow_y({tokens, d});
    weighted_sum(fanned, inverse, w.data(), k, true, y);
    const Tensor<Bf16> narrow_rows = to_bf16(fanned);
    weighted_sum(narrow_rows, inverse, w.data(), k, true, narrow_y);
    weighted_sum(to_f32(narrow_rows), inverse, w.data(), k, true, wide);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t c = 0; c < d; ++c) {
        double sum = 0;
        for (std::int64_t j = 0; j < k; ++j)
          if ((t * k + j) % 3 != 0) sum += static_cast<double>(w.row(t)[j]) * x.row(t)[c];
        REQUIRE(std::abs(y.row(t)[c] - sum) < 1e-5);
        // Widened rows, summed in float32, rounded once.
        REQUIRE(narrow_y.row(t)[c] == from_float<Bf16>(wide.row(t)[c]));
      }
  }
}

TEST_CASE("bfloat16: both paths round the same float32 sums") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::int64_t m = 1 + random_below(seed, 1, 40), n = 1 + random_below(seed, 2, 40);
    const std::int64_t k = 1 + random_below(seed, 3, 70);
    const Tensor<Bf16> a = to_bf16(random_tensor(seed, {m, k})),
                       b = to_bf16(random_tensor(seed + 1, {k, n}));
    Tensor<float> portable({m, n}, 1), fast({m, n}, 1);
    gemm_bf16_portable(m, n, k, {a.data(), k}, {b.data(), n}, portable.data(), n, 1);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 1;
        for (std::int64_t c = 0; c < k; ++c)
          sum += static_cast<double>(to_float(a.row(i)[c])) * to_float(b.row(c)[j]);
        REQUIRE(std::abs(portable.row(i)[j] - sum) < 1e-4);
      }
    if (!has_bf16_hardware_path()) continue;
    gemm_bf16_onednn(m, n, k, {a.data(), k}, {b.data(), n}, fast.data(), n, 1);
    for (std::int64_t i = 0; i < fast.size(); ++i)
      REQUIRE(std::abs(fast.data()[i] - portable.data()[i]) < 1e-4);
  }
}

TEST_CASE("a bfloat16 layer stays within its roundings of the float32 one") {
  const Dims n{12, 16, 24, 6, 2};
  const MoeConfig config = v4_config(n, 10);
  const MoeWeights<float> w = random_weights(7, n, true);
  MoeWeights<Bf16> narrow;
  narrow.gate_kernel = to_bf16(w.gate_kernel);
  narrow.experts = {to_bf16(w.experts.w0), to_bf16(w.experts.w1), to_bf16(w.experts.wo),
                    to_bf16(w.experts.b0), to_bf16(w.experts.b1), to_bf16(w.experts.bo)};
  MoeWeights<float> rounded;  // the same values, computed with in float32
  rounded.gate_kernel = to_f32(narrow.gate_kernel);
  rounded.experts = {to_f32(narrow.experts.w0), to_f32(narrow.experts.w1),
                     to_f32(narrow.experts.wo), to_f32(narrow.experts.b0),
                     to_f32(narrow.experts.b1), to_f32(narrow.experts.bo)};
  const Tensor<Bf16> x = to_bf16(random_tensor(8, {12, 16}));
  SingleRank rank;
  const auto y = naive_layer(to_f32(x), rounded, config);
  double size = 0;
  for (const Doubles& row : y)
    for (const double value : row) size = std::max(size, std::abs(value));
  for (const bool wide : {true, false}) {
    MoeConfig each = config;
    each.float32_weight_sum = wide;
    const MoeOutput<Bf16> out = RoutedMoE<Bf16>(each, narrow, 0)(x, {}, rank.grid());
    CHECK(largest_difference(to_f32(out.y), y) < 0.02 * size);  // a few units of 2^-8
  }
}

TEST_CASE("tensors that do not fit are named") {
  const Dims n{2, 3, 4, 2, 1};
  ExpertWeights<float> w = random_weights(1, n, false).experts;
  CHECK_NOTHROW(check_weights(w, 2, 3, 4));
  w.w1.data()[5] = std::nanf("");
  const Error nan = refusal([&] { check_weights(w, 2, 3, 4); });
  CHECK(std::string(nan.what()).find("w1: element 5") != std::string::npos);
  w = random_weights(1, n, false).experts;
  const Error shape = refusal([&] { check_weights(w, 2, 3, 5); });
  CHECK(std::string(shape.what()).find("w0: must have the shape [2, 3, 5]") != std::string::npos);
}

TEST_CASE("peak memory is the buffers of the layer's widest moment") {
  const Dims n{64, 32, 48, 8, 2};
  const MoeConfig config = v4_config(n, 10);
  const MoeWeights<float> w = random_weights(3, n, false);
  const Tensor<float> x = random_tensor(4, {n.tokens, n.embedding});
  SingleRank rank;
  const RouteOutput routed = route(x, {}, w, config, nullptr);
  tensor_memory().reset_peak();
  const std::int64_t before = tensor_memory().live();
  CountMatrix slots;
  const Tensor<float> y =
      moe_route_and_compute(x, routed, w.experts, config, rank.grid(), true, slots);
  const std::int64_t rows = n.tokens * n.top_k;
  // Up-projection: X_sorted[n, d] beside g and u [n, H]; down: h [n, H] beside y [n, d]; at the end
  // y [n, d] beside out [T, d].
  const std::int64_t up = rows * (n.embedding + 2 * n.width);
  CHECK(tensor_memory().peak() - before == 4 * up);
  CHECK(tensor_memory().live() - before == 4 * n.tokens * n.embedding);
}
