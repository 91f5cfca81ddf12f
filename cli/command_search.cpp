#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/plan_options.hpp"
#include "cli/sweep_run.hpp"
#include "studies/search.hpp"

namespace meshsim {

void add_search(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "search",
      "The fastest plan that fits, and the smallest slice: the space is built from what is left "
      "open.\n\n"
      "  meshsim search model_name=deepseek4-284b compile_topology=v5p-512\n"
      "  meshsim search base.yml model_name=deepseek3-671b compile_topology=v5p-1024\n"
      "    per_device_batch_size=2 max_target_length=8192 ici_fsdp_parallelism=-1\n");
  auto plan = add_plan_options(*command);
  auto words = add_sweep_words(*command);
  command->callback([=, &result] {
    result = run_space(*words, [&] {
      const PlanRequest request = plan->request();
      return SweepRequest{search_space(request), command_of(request, "search"), true};
    });
  });
}

}  // namespace meshsim
