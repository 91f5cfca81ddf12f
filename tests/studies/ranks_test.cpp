// A sweep over several ranks: the bytes of one.
#include "studies/sweep/ranks.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "ranks/in_process_ranks.hpp"
#include "studies/sweep/sweep.hpp"
#include "tests/studies/spaces.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// 512 divisors x 2.
const char* const thousand =
    "axes: {compile_topology: [v5p-16], num_vocab_tiling: [1, 2], max_target_length: {divisors_of: "
    "17297280}}";

// A verdict made up from the words of a plan; every kind of field is used.
class MadeUp : public PlanJudge {
 public:
  explicit MadeUp(std::atomic<int>& judged) : judged_(judged) {}

  Judgement judge(const Change& change) override {
    ++judged_;
    const std::size_t hash = std::hash<std::string>()(change_text(change));
    if (hash % 31 == 0) throw std::logic_error("a bug");
    Judgement judgement;
    judgement.plan_hash = "hash of " + change_text(change);
    SweepOutcome& outcome = judgement.outcome;
    outcome.verdict = hash % 3 == 0 ? SweepVerdict::refused : SweepVerdict::fits;
    if (outcome.verdict == SweepVerdict::refused) {
      outcome.reason = "a \"reason\" with\ttabs";
      outcome.cause = "refused: tabs";
      return judgement;
    }
    outcome.peak = Bytes(static_cast<std::int64_t>(hash % 1000));
    outcome.peak_is_least = hash % 2 == 0;
    outcome.step_time = Picoseconds(static_cast<std::int64_t>(1 + hash % 1000));
    outcome.tokens_per_s_per_device = 1.0 / static_cast<double>(1 + hash % 997);
    outcome.mfu = 1.0 / 3;
    outcome.fit_probability = static_cast<double>(hash % 11) / 10;
    return judgement;
  }

 private:
  std::atomic<int>& judged_;
};

struct Done {
  std::string report;
  SweepResult result;
  std::vector<int> judged;  // by rank
};

Done sweep(
    const SweepSpace& space, int ranks, int threads, SweepStore* store = nullptr,
    std::function<bool()> stop = [] { return false; }) {
  Done done;
  std::vector<std::atomic<int>> judged(static_cast<std::size_t>(ranks));
  run_in_process(ranks, [&](Ranks& world) {
    SweepRanks shared(world);
    std::atomic<int>& mine = judged[static_cast<std::size_t>(world.rank())];
    SweepOptions options;
    options.threads = threads;
    options.form = SweepForm::json;
    SweepHooks hooks;
    hooks.judge = [&] { return std::make_unique<MadeUp>(mine); };
    if (ranks > 1) hooks.ranks = &shared;
    if (world.rank() == 0) {
      hooks.write = [&](std::string_view text) { done.report += text; };
      hooks.store = store;
      hooks.stop = stop;
      done.result = run_sweep(space, options, hooks);
    } else {
      hooks.write = [](std::string_view) { throw std::logic_error("only rank 0 writes"); };
      run_sweep(space, options, hooks);
    }
  });
  for (const std::atomic<int>& one : judged) done.judged.push_back(one);
  return done;
}

}  // namespace

TEST_CASE("the bytes of a sweep do not depend on the ranks", "[studies][ranks]") {
  const SweepSpace space = llama_space(thousand);
  const Done one = sweep(space, 1, 1);
  REQUIRE(one.result.summary.plans == 1024);
  CHECK(one.result.summary.verdicts.at(SweepVerdict::failed) > 0);
  for (const auto& [ranks, threads] : {std::pair{2, 1}, {2, 3}, {3, 1}, {5, 2}}) {
    const Done many = sweep(space, ranks, threads);
    CHECK(many.report == one.report);
    CHECK(!many.result.interrupted);
    // Nobody judges what another does.
    int sum = 0;
    for (const int judged : many.judged) sum += judged;
    CHECK(sum == 1024);
  }
}

TEST_CASE("what a store knows no rank judges again", "[studies][ranks]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("store.db", "");
  const SweepSpace space = llama_space(thousand);
  const std::string whole = sweep(space, 1, 1).report;
  {
    SweepStore store(path, {}, false);
    std::atomic<int> asked = 0;
    const Done cut = sweep(space, 2, 1, &store, [&] { return ++asked > 300; });
    CHECK(cut.result.interrupted);
    CHECK(cut.result.summary.plans < 1024);
  }
  int known = 0;
  {
    SweepStore store(path, {}, true);
    for (const bool one : store.known(1024)) known += one;
    CHECK(known > 0);
    const Done rest = sweep(space, 2, 1, &store);
    CHECK(rest.report == whole);
    CHECK(rest.judged[0] + rest.judged[1] == 1024 - known);
  }
  SweepStore store(path, {}, true);
  const Done again = sweep(space, 3, 2, &store);
  CHECK(again.report == whole);
  CHECK(again.judged == std::vector<int>{0, 0, 0});
}

namespace {

// Waits for the failure of another rank before it judges anything.
class Waiting : public MadeUp {
 public:
  Waiting(std::atomic<int>& judged, const std::atomic<bool>& failed)
      : MadeUp(judged), failed_(failed) {}

  Judgement judge(const Change& change) override {
    while (!failed_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return MadeUp::judge(change);
  }

 private:
  const std::atomic<bool>& failed_;
};

}  // namespace

TEST_CASE("a rank that fails ends the others", "[studies][ranks]") {
  const SweepSpace space = llama_space(thousand);
  std::atomic<bool> failed = false;
  std::atomic<int> judged = 0;
  CHECK_THROWS_WITH(run_in_process(2,
                                   [&](Ranks& world) {
                                     SweepRanks shared(world);
                                     SweepHooks hooks;
                                     hooks.ranks = &shared;
                                     hooks.write = [](std::string_view) {};
                                     hooks.judge = [&]() -> std::unique_ptr<PlanJudge> {
                                       if (world.rank() == 0)
                                         return std::make_unique<Waiting>(judged, failed);
                                       failed = true;
                                       throw std::runtime_error("no memory");
                                     };
                                     run_sweep(space, {}, hooks);
                                   }),
                    "no memory");
}
