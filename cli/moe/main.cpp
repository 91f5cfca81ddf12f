// meshsim-moe: the functional MoE. A program of its own, so that planning never loads a GEMM
// library or MPI.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "cli/help.hpp"
#include "cli/moe/commands.hpp"
#include "reports/document.hpp"
#include "reports/output.hpp"

namespace {

int run(int argc, char** argv) {
  CLI::App app{
      "A functional MoE: real routing, real experts, real exchange between ranks.\n\n"
      "  meshsim moe check FILE...\n"
      "  meshsim moe run ranks=4 strategy=ring_of_experts num_hash_layers=0\n",
      "meshsim moe"};
  int result = meshsim::exit_done;
  app.set_version_flag("--version", fmt::format("meshsim {}", meshsim::version));
  app.formatter(meshsim::help_format());
  app.require_subcommand(1);
  meshsim::add_moe_check(app, result);
  meshsim::add_moe_run(app, result);
  try {
    app.parse(argc, argv);
    return result;
  } catch (const CLI::CallForHelp&) {
    meshsim::write_stdout(app.help());
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
