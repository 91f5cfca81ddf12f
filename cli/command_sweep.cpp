#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/plan_options.hpp"
#include "cli/sweep_run.hpp"

namespace meshsim {

void add_sweep(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("sweep",
                         "Many plans: which fit, which are fastest, and why the others are not.\n\n"
                         "  meshsim sweep examples/v4_flash_sweep.yml\n"
                         "  meshsim sweep space.yml --store found.db -o json --out plans.json\n"
                         "  meshsim sweep space.yml --store found.db --resume\n"
                         "  mpirun -np 4 meshsim sweep space.yml\n");
  auto path = std::make_shared<std::string>();
  command->add_option("space", *path, "the file of the space: base, axes, where")
      ->type_name("SPACE.yml")
      ->required();
  auto words = add_sweep_words(*command);
  command->callback([=, &result] {
    result = run_space(*words, [&] {
      SweepRequest request{read_space(*path), "meshsim sweep " + quoted_word(*path), false};
      request.space.base.environment = maxtext_environment();
      return request;
    });
  });
}

}  // namespace meshsim
