// The same layer on one rank and on many: equal results, and every byte accounted for.
#include <catch2/catch.hpp>
#include <mutex>

#include "moe/backward.hpp"
#include "moe/rank_grid.hpp"
#include "ranks/in_process_ranks.hpp"
#include "tests/moe/oracle.hpp"
#include "tests/refusal.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

struct Run {
  Tensor<float> y;
  CountMatrix slots;
  Traffic sent, received;
  std::vector<float> bias_update;
};

Run run_on(std::int64_t experts_ranks, std::int64_t tensor_ranks, const MoeConfig& config,
           const MoeWeights<float>& all, const Tensor<float>& x,
           const std::vector<std::int64_t>& token_ids, const HashTable* table) {
  Run run{Tensor<float>(x.shape()), {}, {}, {}, {}};
  std::mutex mutex;
  const std::int64_t tokens = x.rows() / experts_ranks, local = config.rule.experts / experts_ranks;
  run_in_process(static_cast<int>(experts_ranks * tensor_ranks), [&](Communicator& world) {
    Ledger ledger;
    RankGrid grid = make_grid(world, tensor_ranks, ledger);
    const std::int64_t p = grid.experts.place();
    MoeWeights<float> w;
    w.gate_kernel = all.gate_kernel;
    w.bias = all.bias;
    w.experts = shard_of(all.experts, p * local, local, grid.tensors.place(), tensor_ranks);
    std::vector<std::int64_t> ids;
    if (!token_ids.empty())
      ids.assign(token_ids.begin() + p * tokens, token_ids.begin() + (p + 1) * tokens);
    RandomDraw draw{5, {}};
    for (std::int64_t t = 0; t < tokens; ++t) draw.tokens.push_back(p * tokens + t);
    const MoeOutput<float> out =
        RoutedMoE<float>(config, w, 0, table)(copied_rows(x, p * tokens, tokens), ids, grid, draw);
    const std::lock_guard lock(mutex);
    if (grid.tensors.place() == 0) std::copy_n(out.y.data(), out.y.size(), run.y.row(p * tokens));
    run.slots = out.slots;
    run.bias_update = out.bias_update;
    run.sent.add(ledger.sent);
    run.received.add(ledger.received);
  });
  return run;
}

enum class Scenario { balanced, skewed, no_tokens, one_expert };

}  // namespace

TEST_CASE("every dropless strategy on 1 to 16 ranks gives the result of one, to the byte") {
  const std::int64_t widest = 16;
  for (const Scenario scenario :
       {Scenario::balanced, Scenario::skewed, Scenario::no_tokens, Scenario::one_expert}) {
    const Dims n{scenario == Scenario::no_tokens ? 0 : 64, 8, 6, 16,
                 scenario == Scenario::one_expert ? 1 : 3};
    MoeConfig config;
    config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
    config.embedding = n.embedding;
    config.width = n.width;
    config.swiglu_limit = 10;
    config.sequence = 4;
    config.num_moe_token_chunks = 2;
    config.num_moe_emb_chunks = 4;
    config.routed_bias_update_rate = 1e-3F;
    MoeWeights<float> w = random_weights(11, n, false);
    w.bias.assign(16, 0.0F);
    if (scenario == Scenario::skewed) w.bias[3] = w.bias[4] = 2;
    if (scenario == Scenario::one_expert) w.bias[5] = 100;
    const Tensor<float> x = random_tensor(12, {n.tokens, n.embedding});
    const Run single = run_on(1, 1, config, w, x, {}, nullptr);
    CHECK(single.sent.bytes() == 0);
    for (int s = 0; s < 5; ++s) {
      config.strategy = static_cast<Strategy>(s);
      for (std::int64_t ranks = 1; ranks <= widest; ranks *= 2) {
        for (const std::int64_t tensors : {1, 2}) {
          INFO(name(config.strategy) << " on " << ranks << " x " << tensors);
          check_config(config, ranks, tensors, n.tokens / ranks);
          const Run many = run_on(ranks, tensors, config, w, x, {}, nullptr);
          REQUIRE(many.sent == many.received);
          const LayerExchange exchange =
              exchange_of(config, ranks, tensors, n.tokens / ranks, 4, true);
          REQUIRE(many.sent.rows() == predicted_traffic(exchange, many.slots).rows());
          for (std::int64_t e = 0; e < n.experts; ++e)
            REQUIRE(many.slots.column_sum(e) == single.slots.column_sum(e));
          REQUIRE(many.bias_update == single.bias_update);
          for (std::int64_t i = 0; i < x.size(); ++i)
            REQUIRE(std::abs(many.y.data()[i] - single.y.data()[i]) <= 1e-5);
        }
      }
    }
  }
}

TEST_CASE("gradients on 1 to 8 ranks are those of one, to the byte") {
  for (const Scenario scenario :
       {Scenario::balanced, Scenario::skewed, Scenario::no_tokens, Scenario::one_expert}) {
    const Dims n{scenario == Scenario::no_tokens ? 0 : 32, 8, 6, 8,
                 scenario == Scenario::one_expert ? 1 : 3};
    MoeConfig config;
    config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
    config.embedding = n.embedding;
    config.width = n.width;
    config.swiglu_limit = 0.5F;  // some rows are clamped
    config.sequence = 4;
    config.num_moe_token_chunks = 2;
    config.num_moe_emb_chunks = 4;
    MoeWeights<float> w = random_weights(31, n, false);
    w.bias.assign(8, 0.0F);
    if (scenario == Scenario::skewed) w.bias[3] = w.bias[4] = 2;
    if (scenario == Scenario::one_expert) w.bias[5] = 100;
    const Tensor<float> x = random_tensor(32, {n.tokens, n.embedding});
    const Tensor<float> dy = random_tensor(33, {n.tokens, n.embedding});
    const MoeGradients one = routed_moe_gradients(x, {}, dy, w, config, nullptr);
    for (int s = 0; s < 5; ++s) {
      config.strategy = static_cast<Strategy>(s);
      for (std::int64_t ranks = 1; ranks <= 8; ranks *= 2) {
        INFO(name(config.strategy) << " on " << ranks);
        const std::int64_t tokens = n.tokens / ranks, local = n.experts / ranks;
        std::mutex mutex;
        Traffic sent, received;
        Tensor<float> gate = Tensor<float>::zeros(one.d_gate_kernel.shape());
        CountMatrix slots(ranks, n.experts);
        run_in_process(static_cast<int>(ranks), [&](Communicator& world) {
          Ledger ledger;
          RankGrid grid = make_grid(world, 1, ledger);
          const std::int64_t p = grid.experts.place();
          MoeWeights<float> mine;
          mine.gate_kernel = w.gate_kernel;
          mine.bias = w.bias;
          mine.experts = shard_of(w.experts, p * local, local, 0, 1);
          const Tensor<float> my_x = copied_rows(x, p * tokens, tokens);
          const MoeGradients many = routed_moe_gradients(
              my_x, {}, copied_rows(dy, p * tokens, tokens), mine, config, nullptr, grid);
          const RouteOutput routed = route(my_x, {}, mine, config, nullptr);
          const std::lock_guard lock(mutex);
          sent.add(ledger.sent);
          received.add(ledger.received);
          for (const ExpertId e : routed.choice.ids) ++slots.at(p, e);
          const auto close = [](const float* a, const float* b, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i)
              if (!(std::abs(a[i] - b[i]) <= 1e-5F * (1 + std::abs(b[i])))) return false;
            return true;
          };
          CHECK(close(many.output.data(), one.output.row(p * tokens), many.output.size()));
          CHECK(close(many.dx.data(), one.dx.row(p * tokens), many.dx.size()));
          const std::int64_t each = local * n.embedding * n.width;
          CHECK(close(many.d_w0.data(), one.d_w0.data() + p * each, each));
          CHECK(close(many.d_w1.data(), one.d_w1.data() + p * each, each));
          CHECK(close(many.d_wo.data(), one.d_wo.data() + p * each, each));
          for (std::int64_t i = 0; i < gate.size(); ++i)
            gate.data()[i] += many.d_gate_kernel.data()[i];
        });
        for (std::int64_t i = 0; i < gate.size(); ++i)
          REQUIRE(std::abs(gate.data()[i] - one.d_gate_kernel.data()[i]) <= 1e-5);
        CHECK(sent == received);
        const LayerExchange exchange = exchange_of(config, ranks, 1, tokens, 4, true);
        Traffic predicted = predicted_traffic(exchange, slots);
        predicted.add(predicted_backward_traffic(exchange, slots));
        CHECK(sent.rows() == predicted.rows());
      }
    }
  }
}

TEST_CASE("hash layers: tables of zeros repeat experts, rings are refused") {
  const Dims n{32, 6, 4, 8, 3};
  MoeConfig config;
  config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
  config.embedding = n.embedding;
  config.width = n.width;
  config.num_hash_layers = 1;
  config.sequence = 4;
  const MoeWeights<float> w = random_weights(21, n, false);
  const Tensor<float> x = random_tensor(22, {n.tokens, n.embedding});
  std::vector<std::int64_t> tokens;
  for (std::int64_t t = 0; t < n.tokens; ++t) tokens.push_back(t % 10);
  for (const HashTable& table : {zeros_hash_table(10, 3), md5_hash_table(10, 3, 8)}) {
    const Run single = run_on(1, 1, config, w, x, tokens, &table);
    CHECK(largest_difference(single.y, naive_layer(x, w, config, tokens, &table)) < 2e-5);
    for (const Strategy strategy : {Strategy::ragged_all_to_all, Strategy::batch_split}) {
      config.strategy = strategy;
      for (const std::int64_t tensors : {1, 2}) {
        const Run many = run_on(8, tensors, config, w, x, tokens, &table);
        CHECK(many.sent == many.received);
        const LayerExchange exchange =
            exchange_of(config, 8, tensors, 4, 4, !table.repeats_experts());
        CHECK(many.sent == predicted_traffic(exchange, many.slots));
        for (std::int64_t i = 0; i < x.size(); ++i)
          REQUIRE(std::abs(many.y.data()[i] - single.y.data()[i]) <= 1e-5);
      }
    }
  }
  for (const Strategy strategy :
       {Strategy::ring_of_experts, Strategy::token_chunks, Strategy::embedding_chunks}) {
    config.strategy = strategy;
    const Error error = refusal([&] { check_config(config, 2, 1, 16); });
    CHECK(std::string(error.what()).find("token ids are not gathered") != std::string::npos);
  }
}

TEST_CASE("random routing draws the same on any number of ranks") {
  const Dims n{32, 6, 4, 8, 3};
  MoeConfig config;
  config.rule = random_rule(n.experts, n.top_k);
  config.embedding = n.embedding;
  config.width = n.width;
  config.sequence = 4;
  config.num_moe_token_chunks = 2;
  const MoeWeights<float> w = random_weights(31, n, false);
  const Tensor<float> x = random_tensor(32, {n.tokens, n.embedding});
  const Run single = run_on(1, 1, config, w, x, {}, nullptr);
  for (int s = 0; s < 5; ++s) {
    config.strategy = static_cast<Strategy>(s);
    const Run many = run_on(4, 1, config, w, x, {}, nullptr);
    INFO(name(config.strategy));
    for (std::int64_t i = 0; i < x.size(); ++i)
      REQUIRE(std::abs(many.y.data()[i] - single.y.data()[i]) <= 1e-5);
  }
}

TEST_CASE("truncated buffers move what the truncated formulas say") {
  const Dims n{32, 6, 4, 8, 3};
  MoeConfig config;
  config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
  config.embedding = n.embedding;
  config.width = n.width;
  MoeWeights<float> w = random_weights(51, n, false);
  w.bias = {2, 0, 0, 1, 0, 0, 0, 0};
  const Tensor<float> x = random_tensor(52, {n.tokens, n.embedding});
  for (const double factor : {0.5, 1.0, 1.5})
    for (const Strategy strategy : {Strategy::ragged_all_to_all, Strategy::ring_of_experts}) {
      config.strategy = strategy;
      config.ragged_buffer_factor = factor;
      const Run many = run_on(4, 2, config, w, x, {}, nullptr);
      CHECK(many.sent == many.received);
      CHECK(many.sent ==
            predicted_traffic(exchange_of(config, 4, 2, n.tokens / 4, 4, true), many.slots));
    }
  config.strategy = Strategy::batch_split;
  CHECK(refusal([&] { check_config(config, 4, 1, 8); }).kind() == ErrorKind::invalid_input);
}

TEST_CASE("a rank that fails ends the run with its own message") {
  const Error error = refusal([] {
    run_in_process(4, [](Communicator& world) {
      if (world.rank() == 2) throw Error(ErrorKind::io, "rank 2 lost its disk");
      Ledger ledger;
      Collectives all(world, {0, 1, 2, 3}, ledger);
      const std::vector<std::int32_t> mine{1};
      (void)all.all_gather("x", std::span<const std::int32_t>(mine));
    });
  });
  CHECK(std::string(error.what()).find("lost its disk") != std::string::npos);
}
