// -o and --out, which every command has.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "reports/document.hpp"

namespace CLI {
class App;
}

namespace meshsim {

struct OutputOptions {
  std::string format = "table";
  std::string file;  // empty: standard output
};

// A check for options whose value must be something: "" would read as "not given".
std::function<std::string(const std::string&)> not_empty();

std::shared_ptr<OutputOptions> add_output_options(CLI::App& command);

// Writes one of the two forms of a finished report.
void emit(const OutputOptions& options, const std::function<Json()>& json,
          const std::function<std::string()>& table);

}  // namespace meshsim
