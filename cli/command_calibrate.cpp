#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "studies/calibrate.hpp"

namespace meshsim {

void add_calibrate(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("calibrate",
                         "Fit what chips reach of their sheets to measured step times.\n\n"
                         "  meshsim calibrate\n"
                         "  meshsim calibrate --runs my_runs.json -o json --out mine.json\n"
                         "  meshsim simulate plan.yml --calibration mine.json\n");
  auto runs = std::make_shared<std::string>();
  auto priors = std::make_shared<std::string>();
  command
      ->add_option("--runs", *runs, "measured runs, schema published-runs/1; default: public ones")
      ->type_name("FILE")
      ->check(not_empty());
  command
      ->add_option("--calibration", *priors,
                   "where constants and their priors come from; default: the built-in calibration")
      ->type_name("FILE")
      ->check(not_empty());
  auto output = add_output_options(*command);
  command->callback([=, &result] {
    const Source file = runs->empty() ? published_runs_file() : read_source(*runs);
    const PublishedRuns measured = parse_published_runs(file);
    const CalibrationFit fit = priors->empty()
                                   ? calibrate(measured, *builtin_calibration())
                                   : calibrate(measured, parse_calibration(read_source(*priors)));
    emit(
        *output, [&] { return calibration_json(fit); }, [&] { return calibration_table(fit); });
    result = exit_done;
  });
}

}  // namespace meshsim
