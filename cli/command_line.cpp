#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "inputs/nearest.hpp"
#include "reports/document.hpp"
#include "reports/output.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

struct Complaint {
  std::string what, hint;
};

class HelpFormat : public CLI::Formatter {
 public:
  std::string make_subcommand(const CLI::App* command) const override {
    const std::string description = command->get_description();
    return fmt::format("  {:<12} {}\n", command->get_name(),
                       description.substr(0, description.find('\n')));
  }
};

const CLI::App* chosen_command(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? nullptr : chosen.front();
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// The first argument that looks like an option and is none, without its value.
std::string unknown_option(const CLI::App& command) {
  for (const std::string& argument : command.remaining()) {
    if (argument.size() > 1 && argument.front() == '-') {
      return argument.substr(0, argument.find('='));
    }
  }
  return {};
}

Complaint complaint_about(const CLI::App& app, int argc, const char* const* argv,
                          const CLI::ParseError& error) {
  const CLI::App* command = chosen_command(app);
  const std::string help = fmt::format("{} {}--help", app.get_name(),
                                       command == nullptr ? "" : command->get_name() + " ");
  const auto or_help = [&](const std::string& hint) { return hint.empty() ? help : hint; };
  if (command == nullptr) {
    if (argc < 2) return {"a command is missing", help};
    const std::string word = argv[1];
    if (word.empty() || word.front() != '-') {
      std::vector<std::string> names;
      for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
      return {fmt::format("{} is not a command", in_quotes(word)),
              or_help(did_you_mean(word, names))};
    }
  }
  const CLI::App& parsed = command == nullptr ? app : *command;
  if (const std::string option = unknown_option(parsed); !option.empty()) {
    return {fmt::format("{} is not an option", in_quotes(option)),
            or_help(did_you_mean(option, option_names(parsed), 2))};
  }
  return {error.what(), help};
}

}  // namespace

void set_up(CLI::App& app) {
  app.set_version_flag("--version", fmt::format("meshsim {}", version));
  app.formatter(std::make_shared<HelpFormat>());
  app.require_subcommand(1);
}

int run_command_line(CLI::App& app, int argc, char** argv, const int& result) {
  try {
    app.parse(argc, argv);
    return result;
  } catch (const CLI::CallForHelp&) {
    write_stdout(app.help());  // of the command, if one was chosen
    return exit_done;
  } catch (const CLI::CallForVersion& asked) {
    write_stdout(std::string(asked.what()) + "\n");
    return exit_done;
  } catch (const CLI::ParseError& error) {
    const auto [what, hint] = complaint_about(app, argc, argv, error);
    say(fmt::format("error: {}\n  hint: {}", printable(what), printable(hint)));
    return exit_usage;
  }
}

}  // namespace meshsim
