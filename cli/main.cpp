// meshsim's command line: parses words, runs one command, prints errors, chooses the exit code.
// Nothing below this folder prints or exits.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"

namespace {

int run(int argc, char** argv) {
  CLI::App app{
      "Does a training plan for a TPU mesh fit, and what does it need?\n\n"
      "  meshsim fit model_name=deepseek4-284b compile_topology=v5p-512 attention=dot_product\n"
      "  meshsim model deepseek4-284b        meshsim topology v5p-512\n",
      "meshsim"};
  int result = meshsim::exit_done;
  meshsim::set_up(app);
  meshsim::add_fit(app, result);
  meshsim::add_simulate(app, result);
  meshsim::add_explain(app, result);
  meshsim::add_what_if(app, result);
  meshsim::add_validate(app, result);
  meshsim::add_calibrate(app, result);
  meshsim::add_search(app, result);
  meshsim::add_sweep(app, result);
  meshsim::add_collective(app, result);
  meshsim::add_config(app, result);
  meshsim::add_model(app, result);
  meshsim::add_topology(app, result);
  meshsim::add_moe(app, result);
  meshsim::add_report(app, result);
  meshsim::add_diff(app, result);
  meshsim::add_schema(app, result);
  return meshsim::run_command_line(app, argc, argv, result);
}

}  // namespace

int main(int argc, char** argv) {
  return meshsim::guarded_main([&] { return run(argc, argv); });
}
