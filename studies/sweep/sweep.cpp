#include "studies/sweep/sweep.hpp"

#include <fmt/format.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "studies/sweep/dealer.hpp"
#include "studies/sweep/judged_block.hpp"
#include "studies/sweep/refine.hpp"
#include "studies/sweep/summary.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t longest_list = 200;    // of plans in a table
constexpr std::size_t blocks_per_thread = 8;  // in flight

struct Block {
  std::vector<Choice> choices;
  std::vector<ChosenMachine> machines;
  std::vector<std::optional<Judgement>> known;  // by the store
  JudgedBlock judged;                           // its range is that of the block
};

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

// Of which progress wants the best plan, whatever is listed in the end.
Summary new_summary(const SweepOptions& options) {
  return {std::max({options.top, options.refine, std::size_t{1}}), options.probability};
}

// Brings what one thread has judged to the store, of this rank or of the first: together, but soon.
class Keeper {
 public:
  Keeper(SweepStore* store, SweepRanks* first) : store_(store), first_(first) {}

  void keep(StoredPlan plan) {
    if (store_ == nullptr && first_ == nullptr) return;
    plans_.push_back(std::move(plan));
    constexpr auto soon = std::chrono::milliseconds(100);
    if (std::chrono::steady_clock::now() - last_ > soon) put();
  }

  void put() {
    if (store_ != nullptr) store_->put(plans_);
    if (first_ != nullptr && !plans_.empty()) first_->send(plans_);
    plans_.clear();
    last_ = std::chrono::steady_clock::now();
  }

 private:
  SweepStore* store_;
  SweepRanks* first_;
  std::vector<StoredPlan> plans_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class Sweep {
 public:
  Sweep(const SweepSpace& space, const SweepOptions& options, const SweepHooks& hooks)
      : space_(space),
        options_(options),
        hooks_(hooks),
        plans_(space),
        summary_(new_summary(options)),
        judges_([this] {
          return hooks_.judge ? hooks_.judge() : make_judge(space_, options_.fidelity);
        }),
        commands_([this] { return ChangedCommands(space_.base, "simulate"); }) {
    plans_.stop_when([this] { return stopped(); });
  }
  ~Sweep() {
    // Whatever happened: the thread that reads what other ranks say knows this sweep.
    if (hooks_.ranks != nullptr) hooks_.ranks->stop_listening();
  }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  SweepResult run() { return helps() ? help() : lead(); }

 private:
  bool helps() const { return hooks_.ranks != nullptr && !hooks_.ranks->is_first(); }

  // Judges plans for the first rank.
  SweepResult help() {
    if (options_.list_plans) {
      const std::optional<std::int64_t> total = count_plans();
      head_.list_plans = total && *total <= longest_list;
    }
    run_pipeline([this] { return filled(hooks_.ranks->take([this] { return stopped(); })); },
                 [this](Block& block) { hooks_.ranks->send(block.judged); });
    const bool interrupted = hooks_.stop();
    hooks_.ranks->end(interrupted);
    return {{}, interrupted, 0};
  }

  SweepResult lead() {
    const std::optional<std::int64_t> total = count_plans();
    if (!total) return {summary_.result(), true, 0};
    total_ = *total;
    head_ = {space_.source, std::string(name(options_.fidelity)),
             static_cast<std::int64_t>(space_.axes.size()),
             options_.list_plans && total_ <= longest_list, provenance(plans_.base_config())};
    hooks_.write(sweep_head(options_.form, head_));
    make_dealer();
    if (hooks_.ranks != nullptr) lead_ranks();
    run_pipeline([this] { return filled(next_range()); },
                 [this](Block& block) { arrive(std::move(block.judged)); });
    if (hooks_.ranks != nullptr) {
      hooks_.ranks->wait_until([this] { return all_done() || stopped(); });
      hooks_.ranks->end_all();
    }
    SweepResult result{summary_.result(), done_ < total_, total_};
    if (!result.interrupted) refine_best(result);
    if (!result.interrupted) hooks_.write(sweep_tail(options_.form, head_, result.summary));
    return result;
  }

  std::optional<std::int64_t> count_plans() {
    Enumeration plans(space_);
    plans.stop_when([this] { return stopped(); });
    return plans.count();
  }

  void make_dealer() {
    const int ranks = hooks_.ranks != nullptr ? hooks_.ranks->size() : 1;
    const int workers = ranks * options_.threads;
    // One rank meets what the store knows on its way; several deal out what it does not.
    std::vector<bool> known;
    if (ranks > 1 && hooks_.store != nullptr) known = hooks_.store->known(total_);
    constexpr std::int64_t plans_ahead = 1 << 14;  // of each worker, or a little more
    dealer_.emplace(total_, std::move(known), workers, ranks > 1 ? plans_ahead * workers : 0);
  }

  void lead_ranks() {
    SweepRanks::Leader leader;
    leader.deal = [this] { return dealer_->unknown().range; };
    if (hooks_.store != nullptr)
      leader.keep = [this](const std::vector<StoredPlan>& plans) { hooks_.store->put(plans); };
    leader.arrived = [this](JudgedBlock block) { arrive(std::move(block)); };
    hooks_.ranks->lead(std::move(leader));
  }

  std::optional<PlanRange> next_range() {
    Dealer::Answer answer = dealer_->any();
    if (answer.later) {  // others are behind
      hooks_.ranks->wait_until([&] {
        answer = dealer_->any();
        return !answer.later || stopped();
      });
    }
    return stopped() ? std::nullopt : answer.range;
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

  // take: the next block, or nullptr after the last; hand_on: in order, once it is evaluated.
  template <class Take, class HandOn>
  void run_pipeline(const Take& take, const HandOn& hand_on) {
    namespace tbb = oneapi::tbb;
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(options_.threads));
    tbb::task_arena arena(options_.threads);
    arena.execute([&] {
      tbb::parallel_pipeline(
          blocks_per_thread * static_cast<std::size_t>(options_.threads),
          tbb::make_filter<void, std::shared_ptr<Block>>(tbb::filter_mode::serial_in_order,
                                                         [&](tbb::flow_control& control) {
                                                           std::shared_ptr<Block> block = take();
                                                           if (block == nullptr) control.stop();
                                                           return block;
                                                         }) &
              tbb::make_filter<std::shared_ptr<Block>, std::shared_ptr<Block>>(
                  tbb::filter_mode::parallel,
                  [&](std::shared_ptr<Block> block) {
                    evaluate(*block);
                    return block;
                  }) &
              tbb::make_filter<std::shared_ptr<Block>, void>(
                  tbb::filter_mode::serial_in_order,
                  [&](const std::shared_ptr<Block>& block) { hand_on(*block); }));
    });
  }

  // The plans of the range, which comes behind those that were asked for before.
  std::shared_ptr<Block> filled(const std::optional<PlanRange>& range) {
    if (!range) return nullptr;
    auto block = std::make_shared<Block>();
    block->judged.range = *range;
    for (; taken_ < range->first; ++taken_) {
      if (!plans_.next()) return nullptr;  // stopped
    }
    for (std::int64_t i = 0; i < range->plans; ++i, ++taken_) {
      if (!plans_.next()) return nullptr;
      block->choices.push_back(plans_.choice());
      block->machines.push_back(plans_.machine());
      block->known.push_back(known(taken_));
    }
    return block;
  }

  std::optional<Judgement> known(std::int64_t index) {
    if (hooks_.store == nullptr) return std::nullopt;
    const StoredPlan* const stored = hooks_.store->at_or_after(index);
    if (stored == nullptr || stored->index != index) return std::nullopt;
    return stored->judgement;
  }

  // Its rows, up to where the sweep is stopped.
  void evaluate(Block& block) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    std::unique_ptr<PlanJudge>& judge = judges_.local();
    ChangedCommands& commands = commands_.local();
    Keeper keeper(hooks_.store, helps() && hooks_.ranks->has_store() ? hooks_.ranks : nullptr);
    Summary summary = new_summary(options_);
    JudgedBlock& out = block.judged;
    bool all_judged = true;
    Change change;
    std::size_t i = 0;
    for (; i < block.choices.size() && !stopped(); ++i) {
      find_change(space_, block.choices[i], change);
      SweepRow row;
      row.index = out.range.first + static_cast<std::int64_t>(i);
      Judgement judgement;
      if (block.known[i]) {
        all_judged = false;
        judgement = std::move(*block.known[i]);
      } else {
        judgement = judged(*judge, change);
        keeper.keep({row.index, judgement});
      }
      row.plan_hash = std::move(judgement.plan_hash);
      const ChosenMachine& machine = block.machines[i];
      row.chips = machine.chips;
      row.outcome = std::move(judgement.outcome);
      if (row.outcome.step_time && row.chips > 0)
        add_upkeep(row, row.chips / std::max<std::int64_t>(1, machine.slices), machine.devices);
      row.change = change_text(change);
      row.command = commands.of(change);
      append_sweep_row(out.text, options_.form, head_, row, row.index == 0);
      summary.add(row);
    }
    keeper.put();
    out.range.plans = static_cast<std::int64_t>(i);
    out.part = summary.part();
    if (all_judged) out.seconds = std::chrono::duration<double>(Clock::now() - start).count();
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
    // Without progress no price buys tokens.
    if (options_.price_per_chip_hour && row.tokens_per_chip_hour > 0)
      upkeep.cost_per_trillion_tokens =
          *options_.price_per_chip_hour * trillion / row.tokens_per_chip_hour;
    row.upkeep = upkeep;
  }

  // Blocks may come out of their order, from this rank and from others. One that was cut short
  // leaves a gap, and what comes behind it is not met.
  void arrive(JudgedBlock block) {
    const std::lock_guard lock(arrival_);
    if (block.seconds > 0) dealer_->judged(block.range.plans, block.seconds);
    const std::int64_t first = block.range.first;
    waiting_.emplace(first, std::move(block));
    while (!waiting_.empty() && waiting_.begin()->first == done_) {
      const auto next = waiting_.begin();
      summary_.add(next->second.part);
      hooks_.write(next->second.text);
      done_ += next->second.range.plans;
      waiting_.erase(next);
      dealer_->done(done_);
      if (hooks_.progress) hooks_.progress({done_, total_, summary_.best()});
    }
  }

  bool all_done() {
    const std::lock_guard lock(arrival_);
    return done_ == total_;
  }

  bool stopped() {
    if (stop_.load(std::memory_order_relaxed)) return true;
    if ((hooks_.ranks != nullptr && hooks_.ranks->told_to_stop()) || hooks_.stop()) stop_ = true;
    return stop_.load(std::memory_order_relaxed);
  }

  const SweepSpace& space_;
  const SweepOptions& options_;
  const SweepHooks& hooks_;
  std::int64_t total_ = 0;
  SweepHead head_;
  Enumeration plans_;
  Summary summary_;
  oneapi::tbb::enumerable_thread_specific<std::unique_ptr<PlanJudge>> judges_;
  oneapi::tbb::enumerable_thread_specific<ChangedCommands> commands_;
  std::optional<Dealer> dealer_;
  std::int64_t taken_ = 0;                       // from plans_
  std::mutex arrival_;                           // of what follows, and of summary_
  std::map<std::int64_t, JudgedBlock> waiting_;  // by their first plan
  std::int64_t done_ = 0;
  std::atomic<bool> stop_ = false;
};

}  // namespace

SweepResult run_sweep(const SweepSpace& space, const SweepOptions& options,
                      const SweepHooks& hooks) {
  return Sweep(space, options, hooks).run();
}

}  // namespace meshsim
