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
#include "units/checked.hpp"

namespace meshsim {
namespace {

// Plans of a block: enough of them that what neighbours share is not made by every thread, and few
// enough that all threads and ranks have some. Whatever their number, of which threads do not know.
std::int64_t block_size_for(std::int64_t plans) {
  return std::clamp<std::int64_t>(plans / 128, 16, 1024);
}

constexpr std::int64_t longest_list = 200;    // of plans in a table
constexpr std::size_t blocks_per_thread = 8;  // in flight

struct Block {
  std::int64_t first = 0;  // index of its first plan
  std::vector<Choice> choices;
  std::vector<std::int64_t> chips, slices, devices;
  std::vector<std::optional<Judgement>> known;  // by the store
  std::vector<std::optional<Judgement>> found;  // by another rank, else empty
  std::vector<SweepRow> rows;
  std::string text;  // of the rows
  // On a rank that judges for the first one:
  std::vector<bool> skip;  // rank 0 knows them
  std::vector<StoredPlan> judged;
  bool whole = true;
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
        block_size_(static_cast<std::size_t>(block_size_for(total_))),
        plans_(space),
        summary_(std::max(options.top, options.refine), options.probability),
        judges_([this] {
          return hooks_.judge ? hooks_.judge() : make_judge(space_, options_.fidelity);
        }),
        commands_([this] { return ChangedCommands(space_.base, "simulate"); }) {}

  SweepResult run() {
    if (hooks_.ranks != nullptr)
      hooks_.ranks->deal(ceil_div(total_, static_cast<std::int64_t>(block_size_)));
    const bool helps = hooks_.ranks != nullptr && !hooks_.ranks->is_first();
    return helps ? help() : lead();
  }

 private:
  // Judges the blocks of this rank for the first one.
  SweepResult help() {
    const std::vector<bool> known = hooks_.ranks->share_known({}, hooks_.stop);
    run_pipeline([&] { return take_mine(known); },
                 [this](std::shared_ptr<Block> block) { return judge_for_first(std::move(block)); },
                 [this](const Block& block) { send(block); });
    hooks_.ranks->finish();
    return {{}, interrupted_, total_};
  }

  SweepResult lead() {
    share_known();
    head_ = {space_.source, std::string(name(options_.fidelity)),
             static_cast<std::int64_t>(space_.axes.size()),
             options_.list_plans && total_ <= longest_list, provenance(plans_.base_config())};
    hooks_.write(sweep_head(options_.form, head_));
    run_pipeline([this] { return take(); },
                 [this](std::shared_ptr<Block> block) { return evaluated(std::move(block)); },
                 [this](const Block& block) { hand_on(block); });
    if (hooks_.ranks != nullptr) hooks_.ranks->finish();
    SweepResult result{summary_.result(), interrupted_, total_};
    if (!interrupted_) refine_best(result);
    if (!result.interrupted) hooks_.write(sweep_tail(options_.form, head_, result.summary));
    return result;
  }

  void share_known() {
    if (hooks_.ranks == nullptr) return;
    const auto total = static_cast<std::size_t>(total_);
    hooks_.ranks->share_known(
        hooks_.store != nullptr ? hooks_.store->known(total_) : std::vector<bool>(total, false),
        hooks_.stop);
  }

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

  // take: the next block, or nullptr after the last; judge: on any thread; hand_on: in order.
  template <class Take, class Judge, class HandOn>
  void run_pipeline(const Take& take_next, const Judge& judge, const HandOn& hand_on_one) {
    namespace tbb = oneapi::tbb;
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(options_.threads));
    tbb::task_arena arena(options_.threads);
    arena.execute([&] {
      tbb::parallel_pipeline(
          blocks_per_thread * static_cast<std::size_t>(options_.threads),
          tbb::make_filter<void, std::shared_ptr<Block>>(tbb::filter_mode::serial_in_order,
                                                         [&](tbb::flow_control& control) {
                                                           std::shared_ptr<Block> block =
                                                               take_next();
                                                           if (block == nullptr) control.stop();
                                                           return block;
                                                         }) &
              tbb::make_filter<std::shared_ptr<Block>, std::shared_ptr<Block>>(
                  tbb::filter_mode::parallel,
                  [&](std::shared_ptr<Block> block) { return judge(std::move(block)); }) &
              tbb::make_filter<std::shared_ptr<Block>, void>(
                  tbb::filter_mode::serial_in_order,
                  [&](const std::shared_ptr<Block>& block) { hand_on_one(*block); }));
    });
  }

  std::shared_ptr<Block> take() {
    auto block = std::make_shared<Block>();
    block->first = taken_;
    while (!stopped() && block->choices.size() < block_size_ && plans_.next()) {
      block->choices.push_back(plans_.choice());
      block->chips.push_back(plans_.machine().chips);
      block->slices.push_back(plans_.machine().slices);
      block->devices.push_back(plans_.machine().devices);
      block->known.push_back(
          known(block->first + static_cast<std::int64_t>(block->choices.size()) - 1));
    }
    taken_ += static_cast<std::int64_t>(block->choices.size());
    if (block->choices.empty()) return nullptr;
    block->found.resize(block->choices.size());
    receive(*block, blocks_++);
    return block;
  }

  // What another rank has judged of the block.
  void receive(Block& block, std::int64_t number) {
    const auto is_known = [](const std::optional<Judgement>& one) { return one.has_value(); };
    if (hooks_.ranks == nullptr || hooks_.ranks->is_mine(number) ||
        std::all_of(block.known.begin(), block.known.end(), is_known))
      return;
    std::optional<std::vector<StoredPlan>> plans =
        hooks_.ranks->receive(number, [this] { return stopped(); });
    if (!plans) {
      stop_ = true;  // that rank was interrupted, or this one
      return;
    }
    for (StoredPlan& plan : *plans)
      block.found[static_cast<std::size_t>(plan.index - block.first)] = std::move(plan.judgement);
  }

  // The next block of this rank that rank 0 does not know.
  std::shared_ptr<Block> take_mine(const std::vector<bool>& known) {
    while (!stopped()) {
      auto block = std::make_shared<Block>();
      block->first = taken_;
      bool is_known = true;
      while (block->choices.size() < block_size_ && plans_.next()) {
        const auto index = static_cast<std::size_t>(taken_++);
        block->choices.push_back(plans_.choice());
        block->skip.push_back(known.at(index));
        is_known = is_known && known[index];
      }
      if (block->choices.empty()) return nullptr;
      if (hooks_.ranks->is_mine(blocks_++) && !is_known) return block;
    }
    interrupted_ = true;
    return nullptr;
  }

  std::shared_ptr<Block> judge_for_first(std::shared_ptr<Block> block) {
    std::unique_ptr<PlanJudge>& judge = judges_.local();
    Change change;
    for (std::size_t i = 0; i < block->choices.size() && !stopped(); ++i) {
      if (block->skip[i]) continue;
      find_change(space_, block->choices[i], change);
      block->judged.push_back(
          {block->first + static_cast<std::int64_t>(i), judged(*judge, change)});
    }
    block->whole = !stopped();
    return block;
  }

  void send(const Block& block) {
    interrupted_ = interrupted_ || !block.whole;
    if (!interrupted_) hooks_.ranks->send(block.judged);
  }

  std::optional<Judgement> known(std::int64_t index) {
    if (hooks_.store == nullptr) return std::nullopt;
    const StoredPlan* const stored = hooks_.store->at_or_after(index);
    if (stored == nullptr || stored->index != index) return std::nullopt;
    return stored->judgement;
  }

  std::shared_ptr<Block> evaluated(std::shared_ptr<Block> block) {
    std::unique_ptr<PlanJudge>& judge = judges_.local();
    ChangedCommands& commands = commands_.local();
    Keeper keeper(hooks_.store);
    Change change;
    block->rows.reserve(block->choices.size());
    for (std::size_t i = 0; i < block->choices.size() && !stopped(); ++i) {
      find_change(space_, block->choices[i], change);
      SweepRow row;
      row.index = block->first + static_cast<std::int64_t>(i);
      Judgement judgement;
      if (block->known[i]) {
        judgement = std::move(*block->known[i]);
      } else {
        judgement = block->found[i] ? std::move(*block->found[i]) : judged(*judge, change);
        keeper.keep({row.index, judgement});
      }
      row.plan_hash = std::move(judgement.plan_hash);
      row.chips = block->chips[i];
      row.outcome = std::move(judgement.outcome);
      if (row.outcome.step_time && row.chips > 0)
        add_upkeep(row, block->chips[i] / std::max<std::int64_t>(1, block->slices[i]),
                   block->devices[i]);
      row.change = change_text(change);
      row.command = commands.of(change);
      append_sweep_row(block->text, options_.form, head_, row, row.index == 0);
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
    for (const SweepRow& row : block.rows) summary_.add(row);
    hooks_.write(block.text);
    done_ += static_cast<std::int64_t>(block.rows.size());
    // Once a block is cut short, the rows behind it would leave a gap.
    interrupted_ = block.rows.size() < block.choices.size();
    if (hooks_.progress) hooks_.progress({done_, total_, summary_.best()});
    if (done_ < total_ && stopped()) interrupted_ = true;
  }

  bool stopped() {
    if (stop_.load(std::memory_order_relaxed)) return true;
    const bool told =
        hooks_.ranks != nullptr && !hooks_.ranks->is_first() && hooks_.ranks->told_to_stop();
    if (told || hooks_.stop()) stop_ = true;
    return stop_.load(std::memory_order_relaxed);
  }

  const SweepSpace& space_;
  const SweepOptions& options_;
  const SweepHooks& hooks_;
  std::int64_t total_;
  std::size_t block_size_;  // plans
  SweepHead head_;
  Enumeration plans_;
  Summary summary_;
  oneapi::tbb::enumerable_thread_specific<std::unique_ptr<PlanJudge>> judges_;
  oneapi::tbb::enumerable_thread_specific<ChangedCommands> commands_;
  std::int64_t taken_ = 0, done_ = 0, blocks_ = 0;
  bool interrupted_ = false;
  std::atomic<bool> stop_ = false;
};

}  // namespace

SweepResult run_sweep(const SweepSpace& space, const SweepOptions& options,
                      const SweepHooks& hooks) {
  return Sweep(space, options, hooks).run();
}

}  // namespace meshsim
