#include "cli/sweep_run.hpp"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <optional>
#include <thread>

#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/guarded_main.hpp"
#include "cli/interrupt.hpp"
#include "cli/launched_run.hpp"
#include "cli/program_identity.hpp"
#include "cli/sweep_progress.hpp"
#include "reports/output.hpp"
#include "routing/routing_scenario.hpp"
#include "studies/sweep/configuration.hpp"
#include "studies/sweep/sweep.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

std::int64_t count_of(const char* option, const std::string& text, std::int64_t least,
                      std::int64_t most) {
  const Parsed<std::int64_t> number = parse_integer(text);
  if (!number || number.value() < least || number.value() > most) {
    throw Error(ErrorKind::usage, fmt::format("{} {} is not a number from {} to {}", option,
                                              printable(text), least, most));
  }
  return number.value();
}

double number_of(const char* option, const std::string& text, double least, double most,
                 std::string_view form) {
  const Parsed<double> number = parse_real(text);
  if (!number || !(number.value() >= least) || !(number.value() <= most))
    throw Error(ErrorKind::usage, fmt::format("{} {} is not {}", option, printable(text), form));
  return number.value();
}

// "90s", "5min", "50000h", "365d", in seconds.
double seconds_of(const char* option, const std::string& text, bool zero_is_fine) {
  static constexpr std::pair<std::string_view, double> units[]{
      {"ms", 1e-3}, {"min", 60}, {"s", 1}, {"h", 3600}, {"d", 86400}};
  constexpr double most = 1e12;  // seconds: 30,000 years
  for (const auto& [unit, seconds] : units) {
    if (!text.ends_with(unit)) continue;
    const Parsed<double> number = parse_real(text.substr(0, text.size() - unit.size()));
    if (!number) break;
    const double value = number.value() * seconds;
    if (value > most || value < 0 || (value == 0 && !zero_is_fine)) break;
    return value;
  }
  throw Error(ErrorKind::usage, fmt::format("{} {} is not a time", option, printable(text)),
              "a number and ms, s, min, h or d: 50000h");
}

int threads_of(const std::string& text) {
  constexpr std::int64_t most = 1024;
  const std::int64_t stated = count_of("--threads", text, 0, most);
  const unsigned here = std::max(1U, std::thread::hardware_concurrency());
  return stated > 0 ? static_cast<int>(stated) : static_cast<int>(here);
}

void read_reliability(const SweepWords& words, SweepOptions& options) {
  if (!words.price_per_chip_hour.empty())
    options.price_per_chip_hour = number_of("--price-per-chip-hour", words.price_per_chip_hour, 0,
                                            1e9, "a price: a number of at least 0");
  if (words.mtbf_per_chip.empty()) {
    for (const std::string* other :
         {&words.checkpoint_time, &words.checkpoint_interval, &words.restart_time,
          &words.repair_time, &words.spare_slices}) {
      if (!other->empty())
        throw Error(ErrorKind::usage, "goodput wants --mtbf-per-chip",
                    "the mean time between failures of one chip: --mtbf-per-chip 50000h");
    }
    return;
  }
  Reliability of;
  of.mtbf_per_chip = seconds_of("--mtbf-per-chip", words.mtbf_per_chip, false);
  const auto time = [](const char* option, const std::string& text, const char* unsaid) {
    return seconds_of(option, text.empty() ? unsaid : text, true);
  };
  if (words.checkpoint_time.empty())
    throw Error(ErrorKind::usage, "goodput wants --checkpoint-time",
                "how long all chips wait for a checkpoint: --checkpoint-time 30s");
  of.checkpoint = seconds_of("--checkpoint-time", words.checkpoint_time, false);
  if (!words.checkpoint_interval.empty())
    of.interval = seconds_of("--checkpoint-interval", words.checkpoint_interval, false);
  of.restart = time("--restart-time", words.restart_time, "0s");
  of.repair = time("--repair-time", words.repair_time, "0s");
  constexpr std::int64_t most_spares = 4096;
  if (!words.spare_slices.empty())
    of.spare_slices = count_of("--spare-slices", words.spare_slices, 0, most_spares);
  options.reliability = of;
}

void read_refinement(const SweepWords& words, SweepOptions& options) {
  constexpr std::int64_t most = 10'000;
  options.refine = static_cast<std::size_t>(count_of("--refine", words.refine, 0, most));
  options.refine_routing = words.refine_routing;
  if (options.refine > 0 && options.form == SweepForm::csv)
    throw Error(ErrorKind::usage, "-o csv holds the plans alone, none that is refined",
                "table, json or jsonl");
  if (options.refine_routing.empty()) return;
  if (options.refine == 0)
    throw Error(ErrorKind::usage, "--refine-routing wants --refine", "--refine 10");
  const Parsed<RoutingLaw> law = parse_routing_law(options.refine_routing);
  if (!law)
    throw Error(
        ErrorKind::invalid_input,
        fmt::format("--refine-routing {}: {}", printable(options.refine_routing), law.why()));
}

SweepOptions options_of(const SweepWords& words) {
  SweepOptions options;
  options.fidelity = parse_fidelity(*words.fidelity);
  options.threads = threads_of(words.threads);
  constexpr std::int64_t longest_list = 10'000;
  options.top = static_cast<std::size_t>(count_of("--top", words.top, 0, longest_list));
  options.probability =
      number_of("--fit-probability", words.probability, 0, 1, "a number from 0 to 1");
  options.form = sweep_form(words.output->format);
  read_refinement(words, options);
  read_reliability(words, options);
  return options;
}

// The command that goes on where `command` was interrupted.
std::string resume_command(const std::string& command, const SweepWords& words) {
  std::string text = command;
  const auto add = [&](const char* option, const std::string& value, const std::string& unsaid) {
    if (value != unsaid) text += fmt::format(" {} {}", option, quoted_word(value));
  };
  const SweepWords unsaid;
  const OutputOptions plain;
  add("--threads", words.threads, unsaid.threads);
  add("--top", words.top, unsaid.top);
  add("--fit-probability", words.probability, unsaid.probability);
  add("--refine", words.refine, unsaid.refine);
  add("--refine-routing", words.refine_routing, "");
  add("--fidelity", *words.fidelity, std::string(name(Fidelity::closed_form)));
  add("--mtbf-per-chip", words.mtbf_per_chip, "");
  add("--checkpoint-time", words.checkpoint_time, "");
  add("--checkpoint-interval", words.checkpoint_interval, "");
  add("--restart-time", words.restart_time, "");
  add("--repair-time", words.repair_time, "");
  add("--spare-slices", words.spare_slices, "");
  add("--price-per-chip-hour", words.price_per_chip_hour, "");
  add("-o", words.output->format, plain.format);
  add("--out", words.output->file, plain.file);
  add("--store", words.store, unsaid.store);
  return text + " --resume";
}

void check_store_words(const SweepWords& words) {
  if (words.resume && words.store.empty())
    throw Error(ErrorKind::usage, "--resume wants --store", "the file of the interrupted sweep");
}

std::unique_ptr<SweepStore> open_store(const SweepWords& words, const SweepSpace& space,
                                       Fidelity fidelity) {
  if (words.store.empty()) return nullptr;
  return std::make_unique<SweepStore>(
      words.store, store_configuration(space, fidelity, program_identity()), words.resume);
}

}  // namespace

std::shared_ptr<SweepWords> add_sweep_words(CLI::App& command) {
  auto words = std::make_shared<SweepWords>();
  const auto add = [&](const char* option, std::string& value, const char* type, const char* text) {
    command.add_option(option, value, text)->type_name(type)->check(not_empty());
  };
  add("--threads", words->threads, "N", "how many plans at once (default: all cores)");
  add("--top", words->top, "N", "how many of the best plans are listed (10)");
  add("--fit-probability", words->probability, "P",
      "how sure the fastest plan and the smallest slice are to fit (0.95)");
  add("--refine", words->refine, "N", "run the N best again in the event engine (0)");
  add("--refine-routing", words->refine_routing, "LAW",
      "with this routing: lognormal:sigma=S,seed=N or trace:FILE (default: the plan's own)");
  add("--progress", words->progress, "FORM",
      "auto (on a terminal), none, or json (lines on stderr)");
  add("--store", words->store, "FILE",
      "keeps what was found in FILE, also when the walk is interrupted");
  command.add_flag("--resume", words->resume, "go on with what --store holds");
  add("--mtbf-per-chip", words->mtbf_per_chip, "TIME",
      "mean time between failures of one chip (50000h): reports goodput");
  add("--checkpoint-time", words->checkpoint_time, "TIME",
      "how long all chips wait for a checkpoint (30s)");
  add("--checkpoint-interval", words->checkpoint_interval, "TIME",
      "time of computation between two checkpoints (default: the best one)");
  add("--restart-time", words->restart_time, "TIME", "from a failure to running again (0s)");
  add("--repair-time", words->repair_time, "TIME",
      "until a failed slice is back, where no spare one takes over (0s)");
  add("--spare-slices", words->spare_slices, "N", "slices that stand by, and are paid for (0)");
  add("--price-per-chip-hour", words->price_per_chip_hour, "PRICE",
      "reports the cost of a trillion tokens");
  words->fidelity = add_fidelity_option(command);
  words->output = add_output_options(command);
  return words;
}

namespace {

// Everything that can be refused is, before anything is walked.
class SpaceRun {
 public:
  SpaceRun(SweepRequest request, const SweepWords& words, Ranks* ranks)
      : request_(std::move(request)),
        words_(words),
        options_(options_of(words)),
        progress_(words.progress) {
    options_.list_plans = request_.list_plans;
    if (ranks != nullptr) ranks_.emplace(*ranks);
    check_store_words(words);
    if (!is_first()) return;
    store_ = open_store(words, request_.space, options_.fidelity);
    report_.emplace(words.output->file);
  }

  int run() {
    const Interrupt interrupt;
    SweepHooks hooks;
    hooks.write = [&](std::string_view text) { report_->write(text); };
    hooks.stop = [&] { return interrupt.happened(); };
    if (is_first()) hooks.progress = [&](const SweepProgress& now) { progress_.show(now); };
    hooks.store = store_.get();
    hooks.ranks = ranks_ ? &*ranks_ : nullptr;
    const SweepResult result = run_sweep(request_.space, options_, hooks);
    return is_first() ? finish(result) : exit_done;
  }

 private:
  bool is_first() const { return !ranks_ || ranks_->is_first(); }

  int finish(const SweepResult& result) {
    progress_.finish();
    if (store_) store_->finish();
    if (result.interrupted) {
      say(store_ ? fmt::format("interrupted after {} of {} plans; to go on:\n  {}",
                               result.summary.plans, result.total,
                               resume_command(request_.command, words_))
                 : "interrupted: nothing is kept (--store FILE keeps what was found)");
      return exit_interrupted;
    }
    report_->finish();
    const auto failed = result.summary.verdicts.find(SweepVerdict::failed);
    if (failed == result.summary.verdicts.end()) return exit_done;
    say(fmt::format("{} plans failed: see their reasons", failed->second));
    return exit_failed_plans;
  }

  SweepRequest request_;
  const SweepWords& words_;
  SweepOptions options_;
  ProgressLine progress_;
  std::optional<SweepRanks> ranks_;
  std::unique_ptr<SweepStore> store_;
  std::optional<LongOutput> report_;
};

}  // namespace

int run_space(const SweepWords& words, const std::function<SweepRequest()>& read) {
  return run_launched([&](Ranks* ranks) -> std::function<int()> {
    const auto run = std::make_shared<SpaceRun>(read(), words, ranks);
    return [run] { return run->run(); };
  });
}

}  // namespace meshsim
