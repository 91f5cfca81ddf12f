// What ranks hold: the buffers of docs/moe.md, and no more.
#include <catch2/catch.hpp>

#include "moe/rank_grid.hpp"
#include "moe/run_memory.hpp"
#include "moe/validation_run.hpp"
#include "ranks/in_process_ranks.hpp"
#include "tests/moe/oracle.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// The most elements that one rank holds during a layer: T tokens of width d, n = T k slots, r rows
// that arrive, expert width H, P ranks.
std::int64_t most_elements(Strategy strategy, std::int64_t tokens, std::int64_t d, std::int64_t k,
                           std::int64_t arriving, std::int64_t width, std::int64_t ranks) {
  const std::int64_t n = tokens * k, r = arriving;
  const std::int64_t up = r * d + 2 * r * width, down = r * width + r * d;
  if (strategy == Strategy::ragged_all_to_all)
    return std::max({n * d + r * d,         // X_sorted, recv
                     2 * r * d,             // recv, rows; later y and the same in order of arrival
                     up, down,              // rows, g, u; h, y
                     r * d + n * d,         // in order of arrival, back
                     n * d + tokens * d});  // back, out
  const std::int64_t all = ranks * tokens * d;
  return std::max({all + r * d,             // x_all, rows
                   up, down, r * d + all,   // y, partial
                   2 * all + tokens * d});  // partial, everybody's parts of the own rows, their sum
}

}  // namespace

TEST_CASE("ranks hold the buffers of their strategy at most") {
  const Dims n{512, 64, 96, 16, 4};
  MoeConfig config;
  config.rule = deepseek4_rule(n.experts, n.top_k, 1.5F);
  config.embedding = n.embedding;
  config.width = n.width;
  config.swiglu_limit = 10;
  const MoeWeights<float> all = random_weights(3, n, false);
  const Tensor<float> x = random_tensor(4, {n.tokens, n.embedding});
  for (const std::int64_t ranks : {2, 4, 8})
    for (const Strategy strategy : {Strategy::ragged_all_to_all, Strategy::ring_of_experts}) {
      config.strategy = strategy;
      const std::int64_t tokens = n.tokens / ranks, local = n.experts / ranks;
      config.sequence = tokens;
      std::vector<MoeWeights<float>> shards(static_cast<std::size_t>(ranks));
      std::vector<Tensor<float>> parts;
      std::vector<std::int64_t> arriving(static_cast<std::size_t>(ranks));
      for (std::int64_t p = 0; p < ranks; ++p) {
        auto& mine = shards[static_cast<std::size_t>(p)];
        mine.gate_kernel = all.gate_kernel;
        mine.experts = shard_of(all.experts, p * local, local);
        parts.push_back(copied_rows(x, p * tokens, tokens));
        for (const ExpertId e : route(parts.back(), {}, all, config, nullptr).choice.ids)
          ++arriving[static_cast<std::size_t>(e / local)];
      }
      const std::int64_t before = tensor_memory().live();
      tensor_memory().reset_peak();
      run_in_process(static_cast<int>(ranks), [&](Communicator& world) {
        Ledger ledger;
        RankGrid grid = make_grid(world, 1, ledger);
        const auto p = static_cast<std::size_t>(world.rank());
        (void)RoutedMoE<float>(config, shards[p], 0)(parts[p], {}, grid);
      });
      std::int64_t most = 0, least = 0;
      for (const std::int64_t rows : arriving) {
        const std::int64_t each =
            most_elements(strategy, tokens, n.embedding, n.top_k, rows, n.width, ranks);
        most += 4 * each;
        least = std::max(least, 4 * each);
      }
      // Beside them the tables of the gate and the weights: biased, pre [T, E] and w [T, k] of the
      // rank, and, in a ring, of all tokens while it chooses; the gate's panels before.
      const std::int64_t seen = strategy == Strategy::ring_of_experts ? n.tokens + tokens : tokens;
      most += 4 * ranks * seen * (2 * n.experts + n.top_k);
      const std::int64_t peak = tensor_memory().peak() - before;
      INFO(name(strategy) << " on " << ranks);
      CHECK(peak <= most);
      CHECK(peak >= least);
    }
}

TEST_CASE("what a run needs is known before it begins") {
  for (const char* const word :
       {"ranks=1", "ranks=4", "layers=9", "base_emb_dim=512", "tokens=4096"}) {
    std::vector<std::string> words{"model_name=deepseek4-tiny", "num_hash_layers=0", "steps=1",
                                   word};
    const RunConfig run = parse_run(words, 0);
    const std::int64_t before = tensor_memory().live();
    tensor_memory().reset_peak();
    CHECK(run_validation_in_process(run).passed());
    const auto peak = static_cast<double>(tensor_memory().peak() - before);
    INFO(word << ": " << peak << " of " << run_memory(run, 0));
    CHECK(peak <= 1.05 * run_memory(run, 0));
    CHECK(peak >= 0.4 * run_memory(run, 0));
  }
}
