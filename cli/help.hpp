// How help and complaints about the command line look.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>

namespace meshsim {

// In the list of commands each has one line; its examples are in its own help.
std::shared_ptr<CLI::FormatterBase> help_format();

// What is wrong with `argv`, which could not be parsed, and a hint. Values of options are not
// repeated: they may be secrets.
struct Complaint {
  std::string what, hint;
};
Complaint complaint_about(const CLI::App& app, int argc, const char* const* argv,
                          const CLI::ParseError& error);

}  // namespace meshsim
