#include "studies/sweep/sweep.hpp"

#include <fmt/format.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "studies/sweep/refine.hpp"
#include "studies/sweep/summary.hpp"

namespace meshsim {
namespace {

constexpr std::size_t block_size = 16;        // plans; small, so that an interrupt is soon heard
constexpr std::int64_t longest_list = 200;    // of plans in a table
constexpr std::size_t blocks_per_thread = 8;  // in flight

struct Block {
  std::int64_t first = 0;  // index of its first plan
  std::vector<Choice> choices;
  std::vector<std::int64_t> chips, slices, devices;
  std::vector<std::optional<Judgement>> known;  // by the store
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
Judgement judged(PlanJudge& judge, const Change& change) {
  try {
    return judge.judge(change);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    Judgement judgement;
    judgement.outcome.reason = error.what();
    judgement.outcome.cause = fmt::format("failed: {}", error.what());
    return judgement;
  }
}

// Brings what one thread has judged to the store: together, but soon.
class Keeper {
 public:
  explicit Keeper(SweepStore* store) : store_(store) {}

  void keep(StoredPlan plan) {
    if (store_ == nullptr) return;
    plans_.push_back(std::move(plan));
    constexpr auto soon = std::chrono::milliseconds(100);
    if (std::chrono::steady_clock::now() - last_ > soon) put();
  }

  void put() {
    if (store_ != nullptr) store_->put(plans_);
    plans_.clear();
    last_ = std::chrono::steady_clock::now();
  }

 private:
  SweepStore* store_;
  std::vector<StoredPlan> plans_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class Sweep {
 public:
  Sweep(const SweepSpace& space, const SweepOptions& options, const SweepHooks& hooks)
      : space_(space),
        options_(options),
        hooks_(hooks),
        total_(count_plans(space)),
        plans_(space),
        summary_(std::max(options.top, options.refine), options.probability),
        judges_([this] {
          return hooks_.judge ? hooks_.judge() : make_judge(space_, options_.fidelity);
        }),
        commands_([this] { return ChangedCommands(space_.base, "simulate"); }) {}

  SweepResult run() {
    head_ = {space_.source, std::string(name(options_.fidelity)),
             static_cast<std::int64_t>(space_.axes.size()),
             options_.list_plans && total_ <= longest_list, provenance(plans_.base_config())};
    hooks_.write(sweep_head(options_.form, head_));
    walk();
    SweepResult result{summary_.result(), interrupted_, total_};
    if (!interrupted_) refine_best(result);
    if (!result.interrupted) hooks_.write(sweep_tail(options_.form, head_, result.summary));
    return result;
  }

 private:
  // Leaves options_.top of the best plans, of which more may have been kept.
  void refine_best(SweepResult& result) const {
    std::vector<SweepRow>& top = result.summary.top;
    if (options_.refine > 0 && !top.empty()) {
      const std::vector<SweepRow> best(
          top.begin(),
          top.begin() + static_cast<std::ptrdiff_t>(std::min(options_.refine, top.size())));
      result.summary.refined =
          refine(space_, best, options_.refine_routing, options_.threads, hooks_.stop);
      result.summary.refined_routing = options_.refine_routing;
      result.interrupted = result.summary.refined.empty();
    }
    top.resize(std::min(options_.top, top.size()));
  }

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
      block->slices.push_back(plans_.machine().slices);
      block->devices.push_back(plans_.machine().devices);
      block->known.push_back(
          known(block->first + static_cast<std::int64_t>(block->choices.size()) - 1));
    }
    taken_ += static_cast<std::int64_t>(block->choices.size());
    if (block->choices.empty()) control.stop();
    return block;
  }

  std::optional<Judgement> known(std::int64_t index) {
    if (hooks_.store == nullptr) return std::nullopt;
    const StoredPlan* const stored = hooks_.store->at_or_after(index);
    if (stored == nullptr || stored->index != index) return std::nullopt;
    return stored->judgement;
  }

  std::shared_ptr<Block> evaluated(std::shared_ptr<Block> block) {
    std::unique_ptr<PlanJudge>& judge = judges_.local();
    Keeper keeper(hooks_.store);
    for (std::size_t i = 0; i < block->choices.size() && !stopped(); ++i) {
      const Change change = change_of(space_, block->choices[i]);
      SweepRow row;
      row.index = block->first + static_cast<std::int64_t>(i);
      Judgement judgement;
      if (block->known[i]) {
        judgement = std::move(*block->known[i]);
      } else {
        judgement = judged(*judge, change);
        keeper.keep({row.index, judgement});
      }
      row.plan_hash = std::move(judgement.plan_hash);
      row.chips = block->chips[i];
      row.outcome = std::move(judgement.outcome);
      if (row.outcome.step_time && row.chips > 0)
        add_upkeep(row, block->chips[i] / std::max<std::int64_t>(1, block->slices[i]),
                   block->devices[i]);
      row.change = change_text(change);
      row.command = commands_.local().of(change);
      block->texts.push_back(sweep_row(options_.form, head_, row, row.index == 0));
      block->rows.push_back(std::move(row));
    }
    keeper.put();
    return block;
  }

  // Tokens per chip-hour of a job that runs; with failures, of one that also restarts. Spare slices
  // are paid for.
  void add_upkeep(SweepRow& row, std::int64_t chips_per_slice, std::int64_t devices) const {
    constexpr double seconds_per_hour = 3600;
    constexpr double trillion = 1e12;
    const double chips = static_cast<double>(row.chips);
    row.tokens_per_chip_hour = row.outcome.tokens_per_s_per_device * seconds_per_hour *
                               static_cast<double>(devices) / chips;
    if (!options_.reliability && !options_.price_per_chip_hour) return;
    SweepRow::Upkeep upkeep{1, 0, {}};
    double paid = 1;  // chips, over those that compute
    if (options_.reliability) {
      const Goodput good = goodput(*options_.reliability, row.chips);
      upkeep.goodput = good.ratio;
      upkeep.checkpoint_interval = good.interval;
      paid += static_cast<double>(options_.reliability->spare_slices * chips_per_slice) / chips;
    }
    row.tokens_per_chip_hour *= upkeep.goodput / paid;
    if (options_.price_per_chip_hour)
      upkeep.cost_per_trillion_tokens =
          *options_.price_per_chip_hour * trillion / row.tokens_per_chip_hour;
    row.upkeep = upkeep;
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
  SweepHead head_;
  Enumeration plans_;
  Summary summary_;
  oneapi::tbb::enumerable_thread_specific<std::unique_ptr<PlanJudge>> judges_;
  oneapi::tbb::enumerable_thread_specific<ChangedCommands> commands_;
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
