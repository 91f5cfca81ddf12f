#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "reports/output.hpp"
#include "reports/schemas.hpp"

namespace meshsim {

void add_schema(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("schema",
                         "The JSON Schema of a report, for validators and dashboards.\n\n"
                         "  meshsim schema plan > plan.schema.json\n");
  auto name = std::make_shared<std::string>();
  command
      ->add_option(
          "report", *name,
          "plan (fit, simulate), explain, what-if, diff, validate, calibration, collective, model, "
          "models, topology, config, moe-run or "
          "moe-check; report: any of them")
      ->required()
      ->type_name("NAME");
  command->callback([=, &result] {
    write_stdout(report_schema(*name));
    result = exit_done;
  });
}

}  // namespace meshsim
