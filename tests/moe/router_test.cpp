#include "moe/router.hpp"

#include <catch2/catch.hpp>
#include <limits>

#include "moe/load_balance.hpp"
#include "moe/top_k.hpp"
#include "tests/moe/oracle.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

TEST_CASE("top-k: descending, ties to the lowest id, for every width up to 1100 and k up to E") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    const std::int64_t width = 1 + random_below(seed, 1, seed % 50 == 0 ? 1100 : 300);
    const std::int64_t k = seed % 7 == 0 ? width : 1 + random_below(seed, 2, std::min(width, 20L));
    const std::int64_t distinct = seed % 2 == 0 ? 9 : 1 << 20;  // few distinct values: many ties
    std::vector<float> values;
    for (std::int64_t e = 0; e < width; ++e) {
      const std::int64_t draw = random_below(seed, static_cast<std::uint64_t>(10 + e), distinct);
      values.push_back(static_cast<float>(draw - distinct / 2));
    }
    if (seed % 3 == 0) values[0] = -infinity;
    if (seed % 5 == 0) values.back() = infinity;
    if (seed % 11 == 0)  // no number, and a zero of either sign
      for (std::size_t e = 0; e < values.size(); e += 3) {
        values[e] = e % 2 == 0 ? std::numeric_limits<float>::quiet_NaN() : -0.0F;
        if (e + 1 < values.size()) values[e + 1] = 0.0F;
      }
    std::vector<ExpertId> order(static_cast<std::size_t>(width));
    std::iota(order.begin(), order.end(), 0);
    const auto number = [&](ExpertId e) {
      const float value = values[static_cast<std::size_t>(e)];
      return value == value ? value : -infinity;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](ExpertId a, ExpertId b) { return number(a) > number(b); });
    order.resize(static_cast<std::size_t>(k));
    std::vector<ExpertId> chosen(static_cast<std::size_t>(k));
    TopK(width, k)(values.data(), chosen.data());
    REQUIRE(chosen == order);
  }
}

TEST_CASE("a choice of several tokens leaves no trace of one in the next") {
  TopK largest(40, 3);
  const std::vector<float> same(40, 2.0F);
  std::vector<float> rising;
  for (int e = 0; e < 40; ++e) rising.push_back(static_cast<float>(e));
  std::vector<ExpertId> chosen(3);
  for (int turn = 0; turn < 3; ++turn) {
    largest(rising.data(), chosen.data());
    CHECK(chosen == std::vector<ExpertId>{39, 38, 37});
    largest(same.data(), chosen.data());  // 40 candidates
    CHECK(chosen == std::vector<ExpertId>{0, 1, 2});
  }
}

TEST_CASE("scores agree with libm over their whole range") {
  for (float z = -120; z < 90; z += 0.0371F) {
    // 4e-7 relative: a few roundings of float32; below 1e-19 the square root of a subnormal.
    const double expected = naive_score(Score::sqrt_softplus, z);
    const double margin = expected > 1e-18 ? 4e-7 * expected : 1e-19;
    REQUIRE(std::abs(sqrt_softplus(z) - expected) <= margin);
    REQUIRE(std::abs(sigmoid(z) - naive_score(Score::sigmoid, z)) <=
            4e-7 * naive_score(Score::sigmoid, z) + 1e-44);
  }
  CHECK(sqrt_softplus(1e30F) == std::sqrt(1e30F));
  CHECK(sqrt_softplus(-1e30F) < 1e-19F);
}

TEST_CASE("every rule chooses and weighs as its definition says") {
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    const std::int64_t experts = 4 * (1 + random_below(seed, 1, 8));
    const std::int64_t k = 1 + random_below(seed, 2, experts / 2);
    const std::vector<RouterRule> rules{mixtral_rule(experts, k),
                                        qwen3_rule(experts, k),
                                        gpt_oss_rule(experts, k),
                                        gemma4_rule(experts, k, seed % 2 == 0),
                                        llama4_rule(experts),
                                        deepseek2_rule(experts, k, 16),
                                        deepseek3_rule(experts, k, 2.5F, 4, experts == 4 ? 4 : 2),
                                        deepseek4_rule(experts, experts, 1.5F)};
    for (RouterRule rule : rules) {
      if (rule.groups != -1 && experts / rule.groups < 2) rule.groups = -1;
      const Tensor<float> logits = random_tensor(seed, {5, experts}, 3);
      const Tensor<float> bias = random_tensor(seed + 77, {experts});
      std::vector<float> b;
      if (rule.bias) b.assign(bias.flat().begin(), bias.flat().end());
      const Choice choice = choose_experts(rule, score_gate(rule, logits, b));
      for (std::int64_t t = 0; t < 5; ++t) {
        const Doubles z(logits.row(t), logits.row(t) + experts);
        const NaiveChoice naive = naive_choice(rule, z, b);
        for (std::int64_t j = 0; j < rule.top_k; ++j) {
          const auto i = static_cast<std::size_t>(j);
          REQUIRE(choice.ids[static_cast<std::size_t>(t * rule.top_k + j)] == naive.ids[i]);
          REQUIRE(choice.weights.row(t)[j] == Approx(naive.weights[i]).epsilon(1e-5));
        }
      }
    }
  }
}

TEST_CASE("a bfloat16 gate rounds its logits and its scores") {
  RouterRule rule = deepseek4_rule(8, 2, 1.5F);
  rule.float32_gate = false;
  const Tensor<float> x = random_tensor(1, {3, 6}), w = random_tensor(2, {6, 8});
  const GateOutput gate = score_gate(rule, gate_logits(x, w, rule), std::vector<float>(8, 0.1F));
  for (const float value : gate.biased.flat()) CHECK(value == rounded_to_bf16(value));
  for (const float value : gate.pre_bias.flat()) CHECK(value == rounded_to_bf16(value));
}

TEST_CASE("a token's logits are the same to the bit whichever tokens stand beside it") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const std::int64_t tokens = 1 + random_below(seed, 1, 40), d = 1 + random_below(seed, 2, 900);
    const std::int64_t experts = 1 + random_below(seed, 3, 70);
    const Tensor<float> x = random_tensor(seed, {tokens, d}),
                        w = random_tensor(seed + 1, {d, experts});
    const RouterRule rule = mixtral_rule(experts, 1);
    const Tensor<float> all = gate_logits(x, w, rule);
    const Tensor<float> narrow = gate_logits(to_bf16(x), to_bf16(w), rule);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const Doubles naive = naive_gate(x.row(t), w);
      const Tensor<float> alone = gate_logits(copied_rows(x, t, 1), w, rule);
      const Tensor<float> pair = gate_logits(
          to_bf16(copied_rows(x, t, std::min<std::int64_t>(2, tokens - t))), to_bf16(w), rule);
      for (std::int64_t e = 0; e < experts; ++e) {
        REQUIRE(all.row(t)[e] == alone.row(0)[e]);
        REQUIRE(narrow.row(t)[e] == pair.row(0)[e]);
        // 900 roundings of partial sums below 16, each at most 2^-21, that add up like a random
        // walk: 30 x 2^-21 = 1.4e-5, and some way to be safe.
        REQUIRE(std::abs(all.row(t)[e] - naive[static_cast<std::size_t>(e)]) < 4e-5);
      }
    }
  }
  CHECK(gate_logits(Tensor<float>({0, 5}), random_tensor(1, {5, 3}), mixtral_rule(3, 1)).empty());
}

TEST_CASE("random routing draws by token, and may repeat an expert") {
  const RouterRule rule = random_rule(4, 3);
  const GateOutput gate = score_gate(rule, random_tensor(1, {50, 4}), {});
  RandomDraw draw{9, {}};
  for (std::int64_t t = 0; t < 50; ++t) draw.tokens.push_back(t);
  const Choice choice = choose_experts(rule, gate, {}, draw);
  bool repeats = false;
  for (std::size_t t = 0; t < 50; ++t) repeats |= choice.ids[3 * t] == choice.ids[3 * t + 1];
  CHECK(repeats);
  std::swap(draw.tokens[0], draw.tokens[7]);
  CHECK(choose_experts(rule, gate, {}, draw).ids[0] == choice.ids[21]);
}

TEST_CASE("rules that cannot route are refused") {
  const auto refused = [](const RouterRule& rule) {
    return refusal([&] { check_rule(rule); }).kind() == ErrorKind::invalid_input;
  };
  CHECK_NOTHROW(check_rule(mixtral_rule(8, 8)));
  CHECK(refused(mixtral_rule(8, 9)));
  CHECK(refused(mixtral_rule(8, 0)));
  CHECK(refused(deepseek3_rule(10, 2, 1, 4, 2)));  // 10 experts, 4 groups
  CHECK(refused(deepseek3_rule(8, 5, 1, 4, 2)));   // two kept groups of two hold four
  RouterRule llama4 = llama4_rule(8);
  llama4.top_k = 2;
  CHECK(refused(llama4));
}

TEST_CASE("balance: perfect balance gives k weight, equal counts move no bias") {
  const auto logits = Tensor<float>::zeros({8, 4});  // uniform probabilities
  std::vector<ExpertId> ids;
  for (ExpertId t = 0; t < 8; ++t) {
    ids.push_back(t % 4);
    ids.push_back((t + 1) % 4);
  }
  CHECK(load_balance_loss(logits, ids, 8, 2, 0.01) == Approx(2 * 0.01));
  CHECK(bias_update(std::vector<std::int64_t>{2, 2}, 0.1F) == std::vector<float>{0, 0});
  CHECK(bias_update(std::vector<std::int64_t>{3, 0}, 0.1F) == std::vector<float>{-0.1F, 0.1F});
}
