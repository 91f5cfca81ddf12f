#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "reports/config_report.hpp"

namespace meshsim {
namespace {

struct ConfigOptions {
  bool resolved = false;  // accepted: it is the only view there is
  bool everything = false;
};

}  // namespace

void add_config(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "config",
      "Every key of a plan with its value, where it came from, and what is done with it.\n\n"
      "  meshsim config --resolved base.yml model_name=deepseek4-284b steps=1\n"
      "  meshsim config --resolved --all plan.yml -o json\n");
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  auto options = std::make_shared<ConfigOptions>();
  command->add_flag("--resolved", options->resolved,
                    "after all files, the environment and the command line (the only view)");
  command->add_flag("--all", options->everything, "also the keys at their default");
  command->callback([=, &result] {
    const ResolvedConfig config = resolve_config(plan_options->request());
    emit(
        *output, [&] { return config_json(config); },
        [&] { return config_table(config, options->everything); });
    result = exit_done;
  });
}

}  // namespace meshsim
