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
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "inputs/nearest.hpp"
#include "reports/document.hpp"
#include "reports/output.hpp"

namespace {

void say(const std::string& text) {
  const std::string line = text + "\n";
  // Nothing can be done about a closed stderr.
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

// The first word, if it is meant as a command and is none.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-' || !app.get_subcommands().empty()) return {};
  return argv[1];
}

int run(int argc, char** argv) {
  CLI::App app{
      "Does a training plan for a TPU mesh fit, and what does it need?\n\n"
      "  meshsim fit model_name=deepseek4-284b compile_topology=v5p-512 attention=dot_product\n"
      "  meshsim model deepseek4-284b        meshsim topology v5p-512\n",
      "meshsim"};
  int result = meshsim::exit_done;
  app.set_version_flag("--version", fmt::format("meshsim {}", meshsim::version));
  app.require_subcommand(1);
  meshsim::add_fit(app, result);
  meshsim::add_simulate(app, result);
  meshsim::add_config(app, result);
  meshsim::add_model(app, result);
  meshsim::add_topology(app, result);
  meshsim::add_schema(app, result);
  try {
    app.parse(argc, argv);
    return result;
  } catch (const CLI::CallForHelp&) {
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    meshsim::write_stdout(chosen.empty() ? app.help() : chosen.front()->help());
    return meshsim::exit_done;
  } catch (const CLI::CallForVersion& version) {
    meshsim::write_stdout(std::string(version.what()) + "\n");
    return meshsim::exit_done;
  } catch (const CLI::ParseError& error) {
    if (const std::string word = unknown_command(app, argc, argv); !word.empty()) {
      std::vector<std::string> names;
      for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
      const std::string near = meshsim::did_you_mean(word, names);
      say(fmt::format("error: '{}' is not a command\n  hint: {}", meshsim::printable(word),
                      near.empty() ? "meshsim --help" : near));
      return meshsim::exit_usage;
    }
    say(fmt::format(
        "error: {}\n  hint: meshsim {}--help", meshsim::printable(error.what()),
        app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name() + " "));
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
