#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <thread>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/guarded_main.hpp"
#include "cli/interrupt.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "cli/sweep_progress.hpp"
#include "reports/output.hpp"
#include "studies/sweep/sweep.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

struct Words {
  std::string space;
  std::string threads = "0";
  std::string top = "10";
  std::string progress = "auto";
};

std::int64_t count_of(const char* option, const std::string& text, std::int64_t least,
                      std::int64_t most) {
  const Parsed<std::int64_t> number = parse_integer(text);
  if (!number || number.value() < least || number.value() > most) {
    throw Error(ErrorKind::usage, fmt::format("{} {} is not a number from {} to {}", option,
                                              printable(text), least, most));
  }
  return number.value();
}

int threads_of(const std::string& text) {
  constexpr std::int64_t most = 1024;
  const std::int64_t stated = count_of("--threads", text, 0, most);
  const unsigned here = std::max(1U, std::thread::hardware_concurrency());
  return stated > 0 ? static_cast<int>(stated) : static_cast<int>(here);
}

int run(const Words& words, const OutputOptions& output, const std::string& fidelity) {
  SweepOptions options;
  options.fidelity = parse_fidelity(fidelity);
  options.threads = threads_of(words.threads);
  constexpr std::int64_t longest_list = 10'000;
  options.top = static_cast<std::size_t>(count_of("--top", words.top, 0, longest_list));
  options.form = sweep_form(output.format);
  SweepSpace space = read_space(words.space);
  space.base.environment = maxtext_environment();

  const Interrupt interrupt;
  ProgressLine progress(words.progress);
  LongOutput report(output.file);
  SweepHooks hooks;
  hooks.write = [&](std::string_view text) { report.write(text); };
  hooks.stop = [&] { return interrupt.happened(); };
  hooks.progress = [&](const SweepProgress& now) { progress.show(now); };
  const SweepResult result = run_sweep(space, options, hooks);
  progress.finish();
  if (result.interrupted) {
    say("interrupted: nothing is kept");
    return exit_interrupted;
  }
  report.finish();
  const bool failed = result.summary.verdicts.contains(SweepVerdict::failed);
  if (failed)
    say(fmt::format("{} plans failed: see their reasons",
                    result.summary.verdicts.at(SweepVerdict::failed)));
  return failed ? exit_failed_plans : exit_done;
}

}  // namespace

void add_sweep(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("sweep",
                         "Many plans: which fit, which are fastest, and why the others are not.\n\n"
                         "  meshsim sweep examples/v4_flash_sweep.yml\n"
                         "  meshsim sweep space.yml -o json --out plans.json\n");
  auto words = std::make_shared<Words>();
  command->add_option("space", words->space, "the file of the space: base, axes, where")
      ->type_name("SPACE.yml")
      ->required();
  command->add_option("--threads", words->threads, "how many plans at once (default: all cores)")
      ->type_name("N");
  command->add_option("--top", words->top, "how many of the best plans are listed (10)")
      ->type_name("N");
  command
      ->add_option("--progress", words->progress,
                   "auto (on a terminal), none, or json (lines on stderr)")
      ->type_name("FORM");
  auto fidelity = add_fidelity_option(*command);
  auto output = add_output_options(*command);
  command->callback([=, &result] { result = run(*words, *output, *fidelity); });
}

}  // namespace meshsim
