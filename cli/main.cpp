// meshsim's command line: parses words, runs one command, prints errors, chooses the exit code.
// Nothing below this folder prints or exits.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <csignal>
#include <exception>
#include <new>
#include <string>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/help.hpp"
#include "reports/document.hpp"
#include "reports/output.hpp"

namespace {

void say(const std::string& text) {
  const std::string line = text + "\n";
  // Nothing can be done about a closed stderr.
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

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
  meshsim::add_config(app, result);
  meshsim::add_model(app, result);
  meshsim::add_topology(app, result);
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
    say(fmt::format("error: {}\n  hint: {}", meshsim::printable(what), meshsim::printable(hint)));
    return meshsim::exit_usage;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is met where the output is written
  try {
    return run(argc, argv);
  } catch (const meshsim::Error& error) {
    say(error.what());
    return meshsim::exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    say("error: out of memory");
    return meshsim::exit_resource_limit;
  } catch (const std::exception& error) {
    say(
        fmt::format("error: internal: {}\n  hint: this is a bug of meshsim; please report it with "
                    "the command line",
                    error.what()));
    return meshsim::exit_our_bug;
  }
}
