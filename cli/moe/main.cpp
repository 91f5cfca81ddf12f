// meshsim-moe: the functional MoE. A program of its own, so that planning never loads a GEMM
// library or MPI.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/command_line.hpp"
#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "cli/moe/commands.hpp"

namespace {

int run(int argc, char** argv) {
  CLI::App app{
      "A functional MoE: real routing, real experts, real exchange between ranks.\n\n"
      "  meshsim moe check FILE...\n"
      "  meshsim moe run ranks=4 strategy=ring_of_experts num_hash_layers=0\n",
      "meshsim moe"};
  int result = meshsim::exit_done;
  meshsim::set_up(app);
  meshsim::add_moe_check(app, result);
  meshsim::add_moe_run(app, result);
  return meshsim::run_command_line(app, argc, argv, result);
}

}  // namespace

int main(int argc, char** argv) {
  return meshsim::guarded_main([&] { return run(argc, argv); });
}
