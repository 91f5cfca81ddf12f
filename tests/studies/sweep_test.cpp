// Rows in the order of the plans, whatever the threads; what stands out of them.
#include <atomic>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "studies/sweep/summary.hpp"
#include "studies/sweep/sweep.hpp"
#include "tests/refusal.hpp"
#include "tests/studies/spaces.hpp"

using namespace meshsim;
using namespace meshsim::testing;

namespace {

// A verdict made up from the words of a plan, after a pause that differs from plan to plan.
class MadeUp : public PlanJudge {
 public:
  Judgement judge(const Change& change) override {
    std::seed_seq seed(change.back().second.begin(), change.back().second.end());
    std::mt19937 random(seed);
    if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
    Judgement judgement;
    judgement.plan_hash = "hash of " + change_text(change);
    SweepOutcome& outcome = judgement.outcome;
    outcome.verdict = random() % 3 == 0 ? SweepVerdict::does_not_fit : SweepVerdict::fits;
    outcome.peak = Bytes(static_cast<std::int64_t>(random() % 1000));
    outcome.step_time = Picoseconds(static_cast<std::int64_t>(1 + random() % 1000));
    outcome.tokens_per_s_per_device = 1 + static_cast<double>(random() % 1000);
    if (outcome.verdict == SweepVerdict::does_not_fit) outcome.cause = outcome.reason = "too large";
    return judgement;
  }
};

const char* const thousand =
    "axes: {compile_topology: [v5p-16], num_vocab_tiling: [1, 2], max_target_length: {divisors_of: "
    "17297280}}";  // 2^7 3^3 5 7 11 13: 8 x 4 x 2 x 2 x 2 x 2 = 512 divisors

struct Done {
  std::string report;
  SweepResult result;
};

Done sweep(const SweepSpace& space, int threads, SweepForm form = SweepForm::json) {
  Done done;
  SweepOptions options;
  options.threads = threads;
  options.form = form;
  SweepHooks hooks;
  hooks.write = [&](std::string_view text) { done.report += text; };
  hooks.judge = [] { return std::make_unique<MadeUp>(); };
  done.result = run_sweep(space, options, hooks);
  return done;
}

SweepRow random_row(std::mt19937& random, std::int64_t index) {
  SweepRow row;
  row.index = index;
  row.chips = std::int64_t{1} << (random() % 4);
  row.outcome.verdict = random() % 5 == 0 ? SweepVerdict::does_not_fit : SweepVerdict::fits;
  // Few values, so that there are ties.
  row.outcome.step_time = Picoseconds(static_cast<std::int64_t>(1 + random() % 12));
  row.outcome.peak = Bytes(static_cast<std::int64_t>(random() % 12));
  row.tokens_per_chip_hour = static_cast<double>(random() % 12);
  row.outcome.fit_probability = static_cast<double>(random() % 11) / 10;
  return row;
}

}  // namespace

TEST_CASE("the bytes of a sweep do not depend on the threads", "[studies][sweep]") {
  const SweepSpace space = llama_space(thousand);
  const Done one = sweep(space, 1);
  REQUIRE(one.result.summary.plans == 1024);
  for (const int threads : {2, 4, 7}) CHECK(sweep(space, threads).report == one.report);
  const auto json = nlohmann::json::parse(one.report);
  REQUIRE(json["plans"].size() == 1024);
  for (std::size_t i = 0; i < 1024; ++i) CHECK(json["plans"][i]["index"] == i);
  // The other forms hold the same rows: a head and 1,024 lines; a head, the rows and a summary.
  const auto lines = [&](SweepForm form) {
    const std::string text = sweep(space, 2, form).report;
    return std::count(text.begin(), text.end(), '\n');
  };
  CHECK(lines(SweepForm::csv) == 1 + 1024);
  CHECK(lines(SweepForm::jsonl) == 1 + 1024 + 1);
}

TEST_CASE("a sweep stops where it is asked to", "[studies][sweep]") {
  const SweepSpace space = llama_space(thousand);
  std::string report;
  std::int64_t done = 0;
  SweepHooks hooks;
  hooks.write = [&](std::string_view text) { report += text; };
  hooks.judge = [] { return std::make_unique<MadeUp>(); };
  hooks.progress = [&](const SweepProgress& now) {
    CHECK(now.total == 1024);
    CHECK(now.done > done);
    done = now.done;
  };
  std::atomic<int> asked = 0;
  hooks.stop = [&] { return ++asked > 200; };
  const SweepResult result = run_sweep(space, {}, hooks);
  CHECK(result.interrupted);
  CHECK(done <= 200);
  CHECK(result.summary.plans < 1024);
}

namespace {

// Throws what a bug would throw, for one of the plans.
class Throwing : public MadeUp {
 public:
  Judgement judge(const Change& change) override {
    if (change.back().second == "2") throw std::logic_error("a bug");
    return MadeUp::judge(change);
  }
};

}  // namespace

TEST_CASE("a plan that throws is a failed row, and the sweep goes on", "[studies][sweep]") {
  const SweepSpace space =
      llama_space("axes: {compile_topology: [v5p-16], num_vocab_tiling: [1, 2, 4]}");
  SweepHooks hooks;
  hooks.write = [](std::string_view) {};
  hooks.judge = [] { return std::make_unique<Throwing>(); };
  const SweepSummary summary = run_sweep(space, {}, hooks).summary;
  CHECK(summary.plans == 3);
  CHECK(summary.verdicts.at(SweepVerdict::failed) == 1);
  CHECK(summary.rejected.at("failed: a bug").count == 1);
}

TEST_CASE("a summary of stretches is that of their plans", "[studies][pareto]") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    Summary whole(5, 0.5), of_parts(5, 0.5);
    Summary stretch(5, 0.5);
    for (std::int64_t i = 0; i < 80; ++i) {
      SweepRow row = random_row(random, i);
      if (row.outcome.verdict != SweepVerdict::fits) {
        row.outcome.cause = random() % 2 == 0 ? "large" : "odd";
        row.outcome.reason = row.outcome.cause + std::to_string(i);
      }
      whole.add(row);
      stretch.add(row);
      if (random() % 12 != 0 && i + 1 < 80) continue;
      of_parts.add(stretch.part());
      stretch = Summary(5, 0.5);
    }
    const SweepHead head;
    CHECK(sweep_tail(SweepForm::json, head, of_parts.result()) ==
          sweep_tail(SweepForm::json, head, whole.result()));
  }
}

TEST_CASE("the front is the one that brute force finds", "[studies][pareto]") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<SweepRow> rows;
    for (std::int64_t i = 0; i < 60; ++i) rows.push_back(random_row(random, i));
    Summary summary(5, 0.5);
    for (const SweepRow& row : rows) summary.add(row);
    const SweepSummary result = summary.result();

    const auto figures = [](const SweepRow& row) {
      return std::tuple(row.outcome.step_time->value(), row.outcome.peak->value(), row.chips,
                        -row.tokens_per_chip_hour);
    };
    std::vector<std::int64_t> expected, front;
    for (const SweepRow& row : rows) {
      if (row.outcome.verdict != SweepVerdict::fits) continue;
      const auto [time, peak, chips, tokens] = figures(row);
      bool dominated = false;
      for (const SweepRow& other : rows) {
        if (other.outcome.verdict != SweepVerdict::fits) continue;
        const auto [t, p, c, k] = figures(other);
        const bool covers = t <= time && p <= peak && c <= chips && k <= tokens;
        const bool equal = figures(other) == figures(row);
        dominated = dominated || (covers && (!equal || other.index < row.index));
      }
      if (!dominated) expected.push_back(row.index);
    }
    for (const SweepRow& row : result.front) front.push_back(row.index);
    std::sort(front.begin(), front.end());
    CHECK(front == expected);

    std::stable_sort(rows.begin(), rows.end(), [](const SweepRow& a, const SweepRow& b) {
      return a.tokens_per_chip_hour > b.tokens_per_chip_hour;
    });
    std::erase_if(rows, [](const SweepRow& r) { return r.outcome.verdict != SweepVerdict::fits; });
    REQUIRE(result.top.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK(result.top[i].index == rows[i].index);
    const auto sure = [](const SweepRow& r) { return r.outcome.fit_probability >= 0.5; };
    CHECK(result.fastest->index == std::find_if(rows.begin(), rows.end(), sure)->index);
    const auto smallest =
        std::min_element(rows.begin(), rows.end(), [&](const SweepRow& a, const SweepRow& b) {
          return std::pair(!sure(a), a.chips) < std::pair(!sure(b), b.chips);
        });
    CHECK(result.smallest->index == smallest->index);
    for (const SweepRow& best : result.best_by_chips) {
      const auto first = std::find_if(rows.begin(), rows.end(),
                                      [&](const SweepRow& r) { return r.chips == best.chips; });
      CHECK(best.index == first->index);
    }
  }
}
