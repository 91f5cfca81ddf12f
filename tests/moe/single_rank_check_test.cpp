// The check itself: what it accepts, and that each kind of deviation is noticed.
#include "moe/single_rank_check.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>

#include "moe/run_weights.hpp"
#include "moe/validation_run.hpp"

using namespace meshsim;

namespace {

RunConfig small_run(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{
      "model_name=deepseek4-tiny", "layers=2",      "steps=2", "tokens=16",
      "num_hash_layers=1",         "hash_table=md5"};
  words.insert(words.end(), more.begin(), more.end());
  return parse_run(words, 0);
}

// What one rank computes itself, shown to the check after `change` (layer, step, seen).
using Change = std::function<void(std::int64_t, std::int64_t, LayerSeen<float>&)>;

SingleRankComparison checked(const RunConfig& run, const Change& change) {
  SingleRankCheck<float> check(run);
  SingleRank rank;
  Ledger ledger;
  std::vector<MoeWeights<float>> weights;
  for (std::int64_t l = 0; l < run.layers; ++l)
    weights.push_back(drawn_weights<float>(run, l, 0, 1, 0, 1));
  for (std::int64_t step = 0; step < run.steps; ++step) {
    const auto ids = std::span(run.token_ids)
                         .subspan(static_cast<std::size_t>(step * run.tokens),
                                  static_cast<std::size_t>(run.tokens));
    Tensor<float> x = embedded<float>(run, ids);
    for (std::int64_t l = 0; l < run.layers; ++l) {
      const LayerResult<float> result =
          run_layer(run, LayerPlace{l, step, 0, ids}, x, weights[static_cast<std::size_t>(l)],
                    rank.grid(), ledger);
      LayerSeen<float> seen;
      seen.x.assign(x.flat().begin(), x.flat().end());
      seen.y.assign(result.out.y.flat().begin(), result.out.y.flat().end());
      seen.dx.assign(result.dx.flat().begin(), result.dx.flat().end());
      seen.ids = result.out.routed.choice.ids;
      change(l, step, seen);
      check(l, step, seen);
      add_residual(x, result.out.y);
    }
  }
  return check.result();
}

}  // namespace

TEST_CASE("the single rank's own results pass, exactly") {
  const SingleRankComparison same =
      checked(small_run({"backward=true"}), [](std::int64_t, std::int64_t, LayerSeen<float>&) {});
  CHECK(same.passed);
  CHECK(same.judged);
  CHECK(same.routing_equal);
  CHECK(same.max_abs_error == 0);
  CHECK(same.max_abs_gradient_error == 0);
}

TEST_CASE("an output, a gradient, a choice or an input that is off is a miss") {
  const RunConfig run = small_run({"backward=true"});
  const auto at = [&](const std::function<void(LayerSeen<float>&)>& change) {
    return checked(run, [&](std::int64_t layer, std::int64_t step, LayerSeen<float>& seen) {
      if (layer == 1 && step == 1) change(seen);
    });
  };
  const SingleRankComparison within = at([](auto& seen) { seen.y[7] += 5e-6F; });
  CHECK(within.passed);
  CHECK(within.max_abs_error > 4e-6);
  const SingleRankComparison beyond =
      at([](auto& seen) { seen.y[7] += 3e-5F * (1 + std::abs(seen.y[7])); });
  CHECK_FALSE(beyond.passed);
  CHECK(beyond.routing_equal);
  CHECK_FALSE(at([](auto& seen) { seen.dx[3] += 1e-3F; }).passed);
  CHECK_FALSE(at([](auto& seen) { seen.y[0] = std::numeric_limits<float>::quiet_NaN(); }).passed);
  CHECK_FALSE(at([](auto& seen) { seen.y.pop_back(); }).passed);
  CHECK_FALSE(at([](auto& seen) { seen.dx.clear(); }).passed);
  const SingleRankComparison swapped = at([](auto& seen) { std::swap(seen.ids[0], seen.ids[1]); });
  CHECK_FALSE(swapped.passed);
  CHECK_FALSE(swapped.routing_equal);
  // The layer may be right for its input: that the input is the sum of what came before is checked
  // to the bit.
  CHECK_FALSE(at([](auto& seen) { seen.x[5] = std::nextafter(seen.x[5], 9.0F); }).passed);
}

TEST_CASE("43 layers on ranks agree as closely as one, whatever the strategy") {
  for (const char* const strategy : {"ragged_all_to_all", "ring_of_experts", "token_chunks",
                                     "embedding_chunks", "batch_split"}) {
    const RunConfig run =
        parse_run({"model_name=deepseek4-tiny", "layers=43", "steps=1", "tokens=16", "ranks=2",
                   "num_hash_layers=0", std::string("strategy=") + strategy},
                  0);
    const ValidationResult result = run_validation_in_process(run);
    INFO(strategy);
    REQUIRE(result.single_rank);
    CHECK(result.single_rank->passed);
    // Float32 sums in another order: not exact, and no worse in layer 43 than in layer 1.
    CHECK(result.single_rank->max_abs_error > 0);
    CHECK(result.single_rank->max_abs_error < 4e-6);
  }
}

TEST_CASE("what need not agree is not judged") {
  for (const char* const word : {"per_device_statistics=true", "ragged_buffer_factor=0.5"}) {
    const ValidationResult result = run_validation_in_process(small_run({"ranks=2", word}));
    INFO(word);
    REQUIRE(result.single_rank);
    CHECK_FALSE(result.single_rank->judged);
    CHECK(result.passed());
  }
}
