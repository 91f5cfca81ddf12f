#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/output_options.hpp"
#include "reports/accuracy_page.hpp"
#include "studies/validate.hpp"

namespace meshsim {

void add_validate(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("validate",
                         "Predicted against measured, on public runs or your own.\n\n"
                         "  meshsim validate\n"
                         "  meshsim validate --runs my_runs.json --max-error 0.12 -o json\n");
  auto runs = std::make_shared<std::string>();
  auto limit = std::make_shared<std::optional<double>>();
  command
      ->add_option("--runs", *runs, "measured runs, schema published-runs/1; default: public ones")
      ->type_name("FILE")
      ->check(not_empty());
  command
      ->add_option("--max-error", *limit,
                   "exit code 3 if the mean absolute error of the step times is larger")
      ->type_name("RATIO")
      ->check(CLI::NonNegativeNumber);
  auto calibration = std::make_shared<std::string>();
  command
      ->add_option("--calibration", *calibration,
                   "what chips reach of their sheets, schema calibration/1; default: built in")
      ->type_name("FILE")
      ->check(not_empty());
  auto page = std::make_shared<bool>(false);
  command->add_flag("--page", *page, "the accuracy page in Markdown in place of the table");
  auto output = add_output_options(*command);
  auto fidelity = add_fidelity_option(*command);
  command->callback([=, &result] {
    const Source file = runs->empty() ? published_runs_file() : read_source(*runs);
    const Validation validation =
        validate(parse_published_runs(file), parse_fidelity(*fidelity), *calibration);
    emit(
        *output, [&] { return validation_json(validation); },
        [&] {
          if (!*page) return validation_table(validation);
          const Calibration stated = calibration->empty()
                                         ? *builtin_calibration()
                                         : parse_calibration(read_source(*calibration));
          return accuracy_page(validation, stated, known_causes());
        });
    // Without a row to compare there is nothing that would keep the limit.
    const bool beyond =
        *limit && (validation.step_time.rows == 0 || validation.step_time.mean_abs > **limit);
    result = beyond ? exit_negative_verdict : exit_done;
  });
}

}  // namespace meshsim
