// The command line of a program: its help, its version, and what is wrong with it.
#pragma once

#include <CLI/App.hpp>

namespace meshsim {

// Help (in the list of commands each has one line; its examples are in its own help), --version,
// and one command, which is required.
void set_up(CLI::App& app);

// Runs the chosen command, which leaves its exit code in `result`; prints help or the version if
// that is asked for. A complaint does not repeat the values of options: they may be secrets.
int run_command_line(CLI::App& app, int argc, char** argv, const int& result);

}  // namespace meshsim
