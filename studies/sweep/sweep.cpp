#include "studies/sweep/sweep.hpp"

#include <fmt/format.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>
#include <vector>

#include "studies/sweep/summary.hpp"

namespace meshsim {
namespace {

constexpr std::size_t block_size = 16;        // plans; small, so that an interrupt is soon heard
constexpr std::size_t blocks_per_thread = 8;  // in flight

struct Block {
  std::int64_t first = 0;  // index of its first plan
  std::vector<Choice> choices;
  std::vector<std::int64_t> chips, devices;
  std::vector<SweepRow> rows;
  std::vector<std::string> texts;
};

std::int64_t count_plans(const SweepSpace& space) {
  Enumeration plans(space);
  std::int64_t count = 0;
  while (plans.next()) ++count;
  return count;
}

// One plan that cannot be judged is a failed row; without memory there is no sweep.
PlanJudge::Judgement judged(PlanJudge& judge, const Change& change) {
  try {
    return judge.judge(change);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    PlanJudge::Judgement judgement;
    judgement.outcome.reason = error.what();
    judgement.outcome.cause = fmt::format("failed: {}", error.what());
    return judgement;
  }
}

class Sweep {
 public:
  Sweep(const SweepSpace& space, const SweepOptions& options, const SweepHooks& hooks)
      : space_(space),
        options_(options),
        hooks_(hooks),
        total_(count_plans(space)),
        plans_(space),
        summary_(options.top),
        judges_([this] {
          return hooks_.judge ? hooks_.judge() : make_judge(space_, options_.fidelity);
        }) {}

  SweepResult run() {
    const SweepHead head{space_.source, std::string(name(options_.fidelity)),
                         static_cast<std::int64_t>(space_.axes.size()),
                         provenance(plans_.base_config())};
    hooks_.write(sweep_head(options_.form, head));
    walk();
    SweepResult result{summary_.result(), interrupted_};
    if (!interrupted_) hooks_.write(sweep_tail(options_.form, head, result.summary));
    return result;
  }

 private:
  void walk() {
    namespace tbb = oneapi::tbb;
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(options_.threads));
    tbb::task_arena arena(options_.threads);
    arena.execute([&] {
      tbb::parallel_pipeline(
          blocks_per_thread * static_cast<std::size_t>(options_.threads),
          tbb::make_filter<void, std::shared_ptr<Block>>(
              tbb::filter_mode::serial_in_order,
              [this](tbb::flow_control& control) { return take(control); }) &
              tbb::make_filter<std::shared_ptr<Block>, std::shared_ptr<Block>>(
                  tbb::filter_mode::parallel,
                  [this](std::shared_ptr<Block> block) { return evaluated(std::move(block)); }) &
              tbb::make_filter<std::shared_ptr<Block>, void>(
                  tbb::filter_mode::serial_in_order,
                  [this](const std::shared_ptr<Block>& block) { hand_on(*block); }));
    });
  }

  std::shared_ptr<Block> take(oneapi::tbb::flow_control& control) {
    auto block = std::make_shared<Block>();
    block->first = taken_;
    while (!stopped() && block->choices.size() < block_size && plans_.next()) {
      block->choices.push_back(plans_.choice());
      block->chips.push_back(plans_.machine().chips);
      block->devices.push_back(plans_.machine().devices);
    }
    taken_ += static_cast<std::int64_t>(block->choices.size());
    if (block->choices.empty()) control.stop();
    return block;
  }

  std::shared_ptr<Block> evaluated(std::shared_ptr<Block> block) {
    std::unique_ptr<PlanJudge>& judge = judges_.local();
    for (std::size_t i = 0; i < block->choices.size() && !stopped(); ++i) {
      const Change change = change_of(space_, block->choices[i]);
      PlanJudge::Judgement judgement = judged(*judge, change);
      SweepRow row;
      row.index = block->first + static_cast<std::int64_t>(i);
      row.plan_hash = std::move(judgement.plan_hash);
      row.chips = block->chips[i];
      row.outcome = std::move(judgement.outcome);
      if (row.outcome.step_time && row.chips > 0) {
        constexpr double seconds_per_hour = 3600;
        row.tokens_per_chip_hour = row.outcome.tokens_per_s_per_device * seconds_per_hour *
                                   static_cast<double>(block->devices[i]) /
                                   static_cast<double>(row.chips);
      }
      row.change = change_text(change);
      row.command = command_of(changed(space_.base, change), "simulate");
      block->texts.push_back(sweep_row(options_.form, row, row.index == 0));
      block->rows.push_back(std::move(row));
    }
    return block;
  }

  void hand_on(const Block& block) {
    if (interrupted_) return;
    for (std::size_t i = 0; i < block.rows.size(); ++i) {
      summary_.add(block.rows[i]);
      hooks_.write(block.texts[i]);
    }
    done_ += static_cast<std::int64_t>(block.rows.size());
    // Once a block is cut short, the rows behind it would leave a gap.
    interrupted_ = block.rows.size() < block.choices.size();
    if (hooks_.progress) hooks_.progress({done_, total_, summary_.best()});
    if (done_ < total_ && stopped()) interrupted_ = true;
  }

  bool stopped() {
    if (!stop_.load(std::memory_order_relaxed) && hooks_.stop()) stop_ = true;
    return stop_.load(std::memory_order_relaxed);
  }

  const SweepSpace& space_;
  const SweepOptions& options_;
  const SweepHooks& hooks_;
  std::int64_t total_;
  Enumeration plans_;
  Summary summary_;
  oneapi::tbb::enumerable_thread_specific<std::unique_ptr<PlanJudge>> judges_;
  std::int64_t taken_ = 0, done_ = 0;
  bool interrupted_ = false;
  std::atomic<bool> stop_ = false;
};

}  // namespace

SweepResult run_sweep(const SweepSpace& space, const SweepOptions& options,
                      const SweepHooks& hooks) {
  return Sweep(space, options, hooks).run();
}

}  // namespace meshsim
