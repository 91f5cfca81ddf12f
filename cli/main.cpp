// meshsim's command line: parses words, runs one command, prints errors, chooses the exit code.
// Nothing below this folder prints or exits.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "cli/help.hpp"
#include "reports/document.hpp"
#include "reports/output.hpp"

namespace {

int run(int argc, char** argv) {
  CLI::App app{
      "Does a training plan for a TPU mesh fit, and what does it need?\n\n"
      "  meshsim fit model_name=deepseek4-284b compile_topology=v5p-512 attention=dot_product\n"
      "  meshsim model deepseek4-284b        meshsim topology v5p-512\n",
      "meshsim"};
  int result = meshsim::exit_done;
  app.set_version_flag("--version", fmt::format("meshsim {}", meshsim::version));
  app.formatter(meshsim::help_format());
  app.require_subcommand(1);
  meshsim::add_fit(app, result);
  meshsim::add_simulate(app, result);
  meshsim::add_what_if(app, result);
  meshsim::add_collective(app, result);
  meshsim::add_config(app, result);
  meshsim::add_model(app, result);
  meshsim::add_topology(app, result);
  meshsim::add_moe(app, result);
  meshsim::add_schema(app, result);
  try {
    app.parse(argc, argv);
    return result;
  } catch (const CLI::CallForHelp&) {
    meshsim::write_stdout(app.help());  // of the command, if one was chosen
    return meshsim::exit_done;
  } catch (const CLI::CallForVersion& version) {
    meshsim::write_stdout(std::string(version.what()) + "\n");
    return meshsim::exit_done;
  } catch (const CLI::ParseError& error) {
    const auto [what, hint] = meshsim::complaint_about(app, argc, argv, error);
    meshsim::say(
        fmt::format("error: {}\n  hint: {}", meshsim::printable(what), meshsim::printable(hint)));
    return meshsim::exit_usage;
  }
}

}  // namespace

int main(int argc, char** argv) {
  return meshsim::guarded_main([&] { return run(argc, argv); });
}
