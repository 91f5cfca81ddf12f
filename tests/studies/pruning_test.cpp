// A sweep, which prunes and remembers, beside every plan of its space evaluated from nothing.
#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <set>

#include "sim/evaluation.hpp"
#include "studies/sweep/enumeration.hpp"
#include "studies/sweep/sweep.hpp"
#include "tests/studies/spaces.hpp"
#include "units/error.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// A plan that fits.
struct Fitting {
  std::int64_t index = 0;
  std::int64_t chips = 0;
  Picoseconds time;
  Bytes peak;
  double tokens_per_chip_hour = 0;
  bool sure = false;  // fits with p >= 0.95

  bool covers(const Fitting& other) const {
    return time <= other.time && peak <= other.peak && chips <= other.chips &&
           tokens_per_chip_hour >= other.tokens_per_chip_hour;
  }
};

struct BruteForce {
  std::vector<Fitting> fitting;
  std::int64_t too_large_at_rest = 0;  // of those that do not fit
  std::int64_t plans = 0;

  // Equal plans: the first of them.
  std::set<std::int64_t> front() const {
    std::set<std::int64_t> all;
    for (const Fitting& one : fitting) {
      const bool dominated = std::any_of(fitting.begin(), fitting.end(), [&](const Fitting& other) {
        return other.covers(one) && (!one.covers(other) || other.index < one.index);
      });
      if (!dominated) all.insert(one.index);
    }
    return all;
  }
};

BruteForce every_plan(const SweepSpace& space) {
  BruteForce all;
  Enumeration plans(space);
  while (plans.next()) {
    const std::int64_t index = all.plans++;
    std::optional<Plan> plan;
    try {
      plan = make_plan(changed(space.base, change_of(space, plans.choice())));
    } catch (const Error&) {
      continue;  // refused
    }
    const Evaluation result = evaluate(*plan, Fidelity::closed_form);
    all.too_large_at_rest += result.state.arguments() > result.hbm_usable() ? 1 : 0;
    if (!result.step || result.verdict() != Verdict::fits) continue;
    constexpr double seconds_per_hour = 3600;
    const double per_chip =
        static_cast<double>(plans.machine().devices) / static_cast<double>(plans.machine().chips);
    all.fitting.push_back({index, plans.machine().chips, result.step->timeline.total, result.peak(),
                           result.step->tokens_per_s_per_device * seconds_per_hour * per_chip,
                           result.fits_probability().value_or(1) >= 0.95});
  }
  return all;
}

// Slices from much too small to comfortable for the model.
SweepSpace random_space(std::mt19937& random) {
  const auto pick = [&](std::initializer_list<const char*> choices) {
    return std::string(choices.begin()[random() % choices.size()]);
  };
  const bool flash = random() % 2 == 0;
  const std::string base =
      flash ? "base: {model_name: deepseek4-284b, attention: flash, use_tokamax_splash: true, "
              "ici_fsdp_parallelism: -1, sharding_tolerance: 1, allow_split_physical_axes: true}\n"
              "axes:\n  compile_topology: [" +
                  pick({"v5p-32, v5p-64, v5p-256", "v5p-64, v5p-128, v5p-512"}) + "]\n"
            : "base: {model_name: mixtral-8x7b, attention: flash, ici_fsdp_parallelism: -1, "
              "allow_split_physical_axes: true}\naxes:\n  compile_topology: [" +
                  pick({"v5p-8, v5p-16, v5p-64", "v5p-8, v5p-32, v5p-128"}) + "]\n";
  return space_of(base + "  ici_expert_parallelism: [" + pick({"1, 4", "2, 8"}) +
                  "]\n  per_device_batch_size: [" + pick({"1, 2", "1, 4"}) +
                  "]\n  remat_policy: [" + pick({"full, minimal", "full, save_out_proj"}) +
                  "]\n  weight_dtype: [float32, bfloat16]\n  max_target_length: [" +
                  pick({"1024", "2048"}) + "]\n");
}

}  // namespace

TEST_CASE("pruning by memory changes no verdict and loses no plan of the front",
          "[studies][sweep][pareto]") {
  std::mt19937 random(20261124);
  std::int64_t pruned = 0;
  std::size_t fronts = 0;
  for (int round = 0; round < 6; ++round) {
    const SweepSpace space = random_space(random);
    const BruteForce expected = every_plan(space);
    SweepOptions options;
    options.top = 1000;
    SweepHooks hooks;
    hooks.write = [](std::string_view) {};
    const SweepSummary summary = run_sweep(space, options, hooks).summary;
    CHECK(summary.plans == expected.plans);

    std::set<std::int64_t> front, top, wanted;
    for (const SweepRow& row : summary.front) front.insert(row.index);
    CHECK(front == expected.front());
    for (const SweepRow& row : summary.top) top.insert(row.index);
    for (const Fitting& one : expected.fitting) wanted.insert(one.index);
    CHECK(top == wanted);

    // The fastest that surely fits, and the best such plan on the fewest chips.
    std::optional<Fitting> fastest, smallest;
    for (const Fitting& one : expected.fitting) {
      if (!one.sure) continue;
      if (!fastest || one.tokens_per_chip_hour > fastest->tokens_per_chip_hour) fastest = one;
      if (!smallest || one.chips < smallest->chips ||
          (one.chips == smallest->chips &&
           one.tokens_per_chip_hour > smallest->tokens_per_chip_hour))
        smallest = one;
    }
    REQUIRE(summary.fastest.has_value() == fastest.has_value());
    if (fastest) {
      CHECK(summary.fastest->index == fastest->index);
      CHECK(summary.smallest->index == smallest->index);
    }
    const auto rest = summary.rejected.find("does not fit: state and batch alone");
    const std::int64_t left = rest == summary.rejected.end() ? 0 : rest->second.count;
    CHECK(left == expected.too_large_at_rest);
    pruned += left;
    fronts += front.size();
  }
  CHECK(pruned > 10);  // neither is tested on nothing
  CHECK(fronts > 10);
}
